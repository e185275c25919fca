/** What comes back from a unit: the answers, and where it stopped if it did. */

import { type InspectOptions, inspect } from "node:util";

import type { Duration } from "../gen/google/protobuf/duration.js";
import { Delivery as WireDelivery, type ErrorReason as WireReason } from "../gen/cardbroker/v1/error.js";
import type { SessionFailure } from "../gen/cardbroker/v1/session.js";
import type { StatusWordSource, TransmitResponse, CommandResult as WireResult } from "../gen/cardbroker/v1/transmit.js";
import { CallError, type Delivery, type ErrorReason, StoppedError, isReason } from "./error.js";

/** What a unit answered, and how it ran. */
export interface Transmitted {
  /** The answers, in the order of the commands. */
  results: CommandResult[];
  /** The insertion that the unit ran on; within a session the one that it was opened on. */
  insertionId: string;
  /** The card's state after the unit, for `ifStateTag`. Empty within a session, where nobody else can change it. */
  stateTag: string;
  /** How long the unit waited for its turn, in ms. Zero within a session. */
  queueDuration: number;
  /** How long the card worked on it, in ms. */
  cardDuration: number;
  /** Whether the card was reset since the unit before. Always false within a session. */
  resetBeforeUnit: boolean;
  /** Whether this is the kept outcome of an earlier unit with the same request id. */
  replayed: boolean;
}

/** The answer to one command. Printed, inspected or as JSON it shows the length of its data, never a byte. */
export class CommandResult {
  /** The response data, without the status word. */
  readonly data: Buffer;
  /** SW1 and SW2: 0x9000 is normal processing. */
  readonly statusWord: number;
  /** Which of the exchanges that the command took gave the status word. */
  readonly statusWordSource: StatusWordSource;
  /** How many GET RESPONSEs were sent for the command, 0–256. */
  readonly getResponseCount: number;

  /** Made by this package only. */
  constructor(result: WireResult) {
    this.data = result.data;
    this.statusWord = result.statusWord;
    this.statusWordSource = result.statusWordSource;
    this.getResponseCount = result.getResponseCount;
  }

  toJSON(): object {
    return { ...this, data: `${this.data.length} bytes` };
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    const statusWord = this.statusWord.toString(16).toUpperCase().padStart(4, "0");
    return `CommandResult ${inspect({ ...this.toJSON(), statusWord }, options)}`;
  }
}

/** What a unit answered; throws {@link StoppedError} if it stopped early. */
export function transmittedOrStopped(response: TransmitResponse): Transmitted {
  const { stopped, insertionId, stateTag, resetBeforeUnit, replayed } = response;
  const transmitted: Transmitted = {
    results: response.results.map((result) => new CommandResult(result)),
    insertionId,
    stateTag,
    queueDuration: milliseconds(response.queueDuration),
    cardDuration: milliseconds(response.cardDuration),
    resetBeforeUnit,
    replayed,
  };
  if (stopped) {
    const { message, index } = stopped;
    throw new StoppedError(message, delivery(stopped.delivery), reason(stopped.reason), index, transmitted);
  }
  return transmitted;
}

/** A message of a session that failed and left the session alive. */
export function ofFailure(failure: SessionFailure): CallError {
  return new CallError(failure.message, { reason: reason(failure.reason), delivery: delivery(failure.delivery) });
}

/** A duration of the wire in ms. */
export function milliseconds(duration: Duration | undefined): number {
  return duration ? duration.seconds * 1000 + duration.nanos / 1e6 : 0;
}

/** Milliseconds as a duration of the wire. */
export function duration(milliseconds: number): Duration {
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanos: Math.floor((milliseconds - seconds * 1000) * 1e6) };
}

function reason(told: WireReason): ErrorReason | undefined {
  const name = told.replace("ERROR_REASON_", "");
  return isReason(name) ? name : undefined;
}

function delivery(told: WireDelivery): Delivery {
  return told === WireDelivery.NOT_SENT ? "not_sent" : "unknown";
}
