/** Units of commands: their options, their deadline and their repeats. */

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { TransmitRequest } from "../gen/cardbroker/v1/transmit.js";
import { TurnOptions as WireTurn } from "../gen/cardbroker/v1/turn.js";
import { call } from "./call.js";
import { now } from "./clock.js";
import { type Command, checkMessage, toWire } from "./command.js";
import type { Connection } from "./connection.js";
import { CardbrokerError, FailedError, NotRunningError, aborted } from "./error.js";
import { type TimeLimits, getBroker, getReader } from "./query.js";
import { isLost, pauses } from "./repeat.js";
import { StoppedError, type Transmitted, transmittedOrStopped } from "./response.js";
import { callLimit } from "./times.js";
import { type Disposition, type TurnOptions, dispositionToWire, turnToWire } from "./turn.js";

/** The options of {@link Client.transmit}. */
export interface TransmitOptions extends TurnOptions {
  /**
   * The deadline of the whole call, in ms from now, at most 48 h. Default: the wait and 150 s for the card. A unit that
   * has begun runs on after it and its delivery is `UNKNOWN`; the broker ends the wait a little earlier, with
   * `NOT_SENT`.
   */
  timeout?: number;
  /**
   * The treatment of the card after the last command that runs. Default: `LEAVE`; others need the permission `reset`.
   */
  disposition?: Disposition;
  /** Makes a repeat safe: a second unit with the same id (16–64 random bytes) gets the outcome of the first. */
  requestId?: Uint8Array;
  /**
   * Repeats the unit if the connection is lost before its outcome is known: at most 3 times, within the timeout and
   * within half the time that the broker keeps outcomes (`BrokerLimits.outcomeLifetime`). All attempts have one
   * `requestId` (a fresh random one if none was given), so that the broker executes the unit once, and one insertion
   * (`ifInsertionId`, else the current one), so that a restarted broker refuses the repeat. Without a card there is no
   * repeat.
   */
  repeatable?: boolean;
  /**
   * Lets a repeat run on any card; a restarted broker may then run the unit again.
   */
  anyCard?: boolean;
  /** Ends the call. A waiting unit leaves the queue; a unit that has begun runs to its end. */
  signal?: AbortSignal;
}

/** Runs commands as one unit; the implementation of {@link Client.transmit}. */
export async function transmit(
  connection: Connection,
  name: (limits: TimeLimits) => Promise<string>,
  commands: Iterable<Command>,
  options: TransmitOptions,
): Promise<Transmitted> {
  // Reads all arguments before the first wait, because the caller may wipe or change them afterwards.
  const limit = callLimit(options.waitTimeout, options.timeout);
  const { repeatable, anyCard, signal, requestId } = options;
  const end = now() + limit;
  const request = TransmitRequest.create();
  request.turn = turnToWire(options);
  request.commands = toWire(commands);
  request.requestId = requestId ? Buffer.from(requestId) : repeatable ? randomBytes(16) : request.requestId;
  request.disposition = dispositionToWire(options.disposition);
  checkMessage(() => TransmitRequest.encode(request));
  const limits = { end, signal };
  request.reader = await name(limits);
  checkMessage(() => TransmitRequest.encode(request));
  if (!repeatable) {
    return attempt(connection, request, limits);
  }

  const { outcomeLifetime } = (await getBroker(connection, limits)).limits;
  const mayRepeat = anyCard || (await fixInsertion(connection, request, limits));
  // Taken before the first attempt connects, so that no repeat comes after the outcome was dropped.
  const lastRepeat = now() + outcomeLifetime / 2;
  try {
    return await attempt(connection, request, limits);
  } catch (first) {
    if (!mayRepeat || !isLost(first)) {
      throw first;
    }
    return repeat(connection, request, { ...limits, lastRepeat, first });
  }
}

/** Binds the unit to an insertion; false if there is no card yet. */
async function fixInsertion(connection: Connection, request: TransmitRequest, limits: TimeLimits): Promise<boolean> {
  if (request.turn?.ifInsertionId) {
    return true;
  }
  const { insertionId } = await getReader(connection, request.reader, limits);
  if (insertionId) {
    request.turn = { ...(request.turn ?? WireTurn.create()), ifInsertionId: insertionId };
  }
  return insertionId !== "";
}

/** The limits of the unit: its end by {@link now}, and the signal. */
interface Span {
  end: number;
  signal: AbortSignal | undefined;
}

interface Repeats extends Span {
  /** The time, by {@link now}, after which no repeat is sent. */
  lastRepeat: number;
  /** The failure of the first attempt. */
  first: FailedError;
}

async function repeat(connection: Connection, request: TransmitRequest, repeats: Repeats): Promise<Transmitted> {
  const { end, lastRepeat, first, signal } = repeats;
  for (const pause of pauses()) {
    await sleep(pause, undefined, { signal }).catch(() => {
      throw signal ? aborted(signal, "UNKNOWN") : first;
    });
    const connectLimit = Math.min(end, lastRepeat) - now();
    if (connectLimit <= 0) {
      break;
    }
    try {
      return await attempt(connection, request, { end, signal }, connectLimit);
    } catch (error) {
      if (isLost(error) || error instanceof NotRunningError) {
        continue;
      }
      // True of this attempt, but the first attempt may have reached the card before a restart of the broker.
      if (error instanceof CardbrokerError && !(error instanceof StoppedError) && error.delivery === "NOT_SENT") {
        throw new FailedError(first.failure, { cause: error });
      }
      throw error;
    }
  }
  throw first;
}

async function attempt(
  connection: Connection,
  request: TransmitRequest,
  { end, signal }: Span,
  connectLimit?: number,
): Promise<Transmitted> {
  const limit = Math.max(0, end - now());
  const bound = { limit, signal, ...(connectLimit !== undefined && { connectLimit }) };
  return transmittedOrStopped(await call(connection, (stub, ...rest) => stub.transmit(...rest), request, bound));
}
