/** The broker's version, features and limits, and this program's caller identity. */

import type {
  BrokerLimits as WireLimits,
  CallerInfo as WireCaller,
  GetBrokerResponse,
} from "../gen/cardbroker/v1/broker.js";
import { milliseconds } from "./times.js";

/** The broker's description of itself and of its caller. */
export interface BrokerInfo {
  /** The version of the broker: `0.1.0`. */
  readonly version: string;
  /** Identifies this run of the broker. Opaque; a new value means a restart without the stored outcomes. */
  readonly epoch: string;
  /** The start time of this run. */
  readonly startTime?: Date;
  /** Features of the broker beyond this version of the contract. */
  readonly capabilities: readonly string[];
  /** The limits that apply to this program. */
  readonly limits: BrokerLimits;
  /** The caller identity of this program. */
  readonly caller: CallerInfo;
}

/** The configured limits of the broker. */
export interface BrokerLimits {
  /** The largest request, and the largest response, in bytes. */
  readonly maxMessageBytes: number;
  /** The largest number of commands in a unit. */
  readonly maxCommands: number;
  /** The largest number of unanswered messages in a session. */
  readonly maxSessionMessages: number;
  /** The largest number of the caller's requests that may wait at one reader. */
  readonly maxWaitingPerCaller: number;
  /** The largest number of requests of all callers that may wait at one reader. */
  readonly maxWaitingPerReader: number;
  /** The largest number of outcomes that the broker stores for the user. */
  readonly maxOutcomesPerUser: number;
  /** The time for which the broker stores an outcome, in ms. */
  readonly outcomeLifetime: number;
  /** The longest lease of a session while callers of other groups wait, in ms. */
  readonly maxContendedLease: number;
  /**
   * The longest visit, in ms: consecutive turns of one group where that saves a reset. Undefined: one and a half times
   * the duration of the reader's resets, at most 500 ms.
   */
  readonly turnQuantum: number | undefined;
  /**
   * The longest time of a unit on the card while callers of other groups wait, in ms. It is less while several users
   * wait.
   */
  readonly maxContendedUnit: number;
}

/** The identity of a caller at the broker. */
export interface CallerInfo {
  /** The user or the token: `user 1000` (on Windows with the SID), `token build-7`. For people. */
  readonly principal: string;
  /** The process id from the operating system; absent if it is unknown. */
  readonly processId?: number;
  /** The number of the connection, from 1. */
  readonly connection: number;
  /** Whether the connection is the caller: other connections, even of the same process, are other callers. */
  readonly isConnection: boolean;
  /** The number of the isolation group, from 1; 0 if each call is a group of its own. */
  readonly group: number;
}

/** Converts the broker's description of itself. */
export function brokerInfo({ startTime, limits, caller, ...broker }: GetBrokerResponse): BrokerInfo {
  return {
    version: broker.version,
    epoch: broker.epoch,
    ...(startTime && { startTime }),
    capabilities: broker.capabilities,
    limits: brokerLimits(limits),
    caller: callerInfo(caller),
  };
}

function brokerLimits(wire: WireLimits | undefined): BrokerLimits {
  return {
    maxMessageBytes: wire?.maxMessageBytes ?? 0,
    maxCommands: wire?.maxCommands ?? 0,
    maxSessionMessages: wire?.maxSessionMessages ?? 0,
    maxWaitingPerCaller: wire?.maxWaitingPerCaller ?? 0,
    maxWaitingPerReader: wire?.maxWaitingPerReader ?? 0,
    maxOutcomesPerUser: wire?.maxOutcomesPerUser ?? 0,
    outcomeLifetime: milliseconds(wire?.outcomeLifetime),
    maxContendedLease: milliseconds(wire?.maxContendedLease),
    turnQuantum: wire?.turnQuantum && milliseconds(wire.turnQuantum),
    maxContendedUnit: milliseconds(wire?.maxContendedUnit),
  };
}

function callerInfo(wire: WireCaller | undefined): CallerInfo {
  return {
    principal: wire?.principal ?? "",
    ...(wire?.processId !== undefined && { processId: wire.processId }),
    connection: wire?.connection ?? 0,
    isConnection: wire?.isConnection ?? false,
    group: wire?.group ?? 0,
  };
}
