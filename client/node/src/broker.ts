/** The broker itself: which one it is, what it can do, and how it sees this program. */

import type {
  BrokerLimits as WireLimits,
  CallerInfo as WireCaller,
  GetBrokerResponse,
} from "../gen/cardbroker/v1/broker.js";
import { milliseconds } from "./times.js";

/** The broker, and this program as the broker sees it. */
export interface BrokerInfo {
  /** The broker's version: `0.1.0`. */
  readonly version: string;
  /** Names this run of the broker. Opaque; a new one means that all kept outcomes are gone. */
  readonly epoch: string;
  /** When this run began. */
  readonly startTime?: Date;
  /** What the broker can do beyond this edition of the contract. */
  readonly capabilities: readonly string[];
  /** The limits that this program is under. */
  readonly limits: BrokerLimits;
  /** This program. */
  readonly caller: CallerInfo;
}

/** Limits, as configured. */
export interface BrokerLimits {
  /** The most bytes of a request, and of a response. */
  readonly maxMessageBytes: number;
  /** The most commands of a unit. */
  readonly maxCommands: number;
  /** The most messages of a session that may be unanswered. */
  readonly maxSessionMessages: number;
  /** The most requests of the caller that may wait at one reader. */
  readonly maxWaitingPerCaller: number;
  /** The most requests of all callers that may wait at one reader. */
  readonly maxWaitingPerReader: number;
  /** The most outcomes that are kept for the user under a `requestId`. */
  readonly maxOutcomesPerUser: number;
  /** How long an outcome is kept, in ms. */
  readonly outcomeLifetime: number;
  /** How long a session may hold the card while others wait, in ms. */
  readonly maxContendedLease: number;
}

/** A caller as the broker sees it. */
export interface CallerInfo {
  /** Who is responsible: `user 1000`, `token build-7`. For people. */
  readonly principal: string;
  /** The process, as the system has told it; absent if it is not known. */
  readonly processId?: number;
  /** The number of the connection, counted from 1. */
  readonly connection: number;
  /** Whether the connection is the caller: calls of other connections, of the same process too, are other callers'. */
  readonly isConnection: boolean;
  /** The number of the isolation group, counted from 1; 0 if each call is a group of its own. */
  readonly group: number;
}

/** The broker as it is shown. */
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
