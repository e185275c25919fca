/** Units of commands: what goes to a card together, and how long it may take. */

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { CardStart, TransmitRequest } from "../gen/cardbroker/v1/transmit.js";
import { call } from "./call.js";
import { type Command, checkLength, toWire } from "./command.js";
import type { Connection } from "./connection.js";
import { CardbrokerError, NotRunningError, StoppedError, aborted } from "./error.js";
import { isLost, pauses } from "./repeat.js";
import { type Transmitted, duration, transmittedOrStopped } from "./response.js";

/** How to run a unit. */
export interface TransmitOptions {
  /** How long to wait for the turn, in ms, at most 24 h. Default: 30 s; 0 means now or never. Shortened where `timeout` asks for it. */
  waitTimeout?: number;
  /**
   * When to give up on the whole call, in ms from now, at most 48 h. Default: the wait and 150 s for the card. A unit that has
   * begun then goes on without this program and its fate is unknown; the waiting ends a little earlier, so that "not sent" can
   * still be told.
   */
  timeout?: number;
  /** Wait, as long as `waitTimeout`, for a usable card instead of failing without one. */
  waitForCard?: boolean;
  /** Send the commands exactly as given and hand back every answer as it comes: no GET RESPONSE, no correction of Le. */
  raw?: boolean;
  /** Reset the card (warm) before the first command. */
  startReset?: boolean;
  /** Fail, not sent, unless the card is still in this insertion (`Reader.insertionId`). */
  ifInsertionId?: string;
  /** Fail, not sent, if anybody used or reset the card since (`Transmitted.stateTag`). */
  ifStateTag?: string;
  /** Makes a repeat safe: a second unit with the same id (16–64 bytes, random) gets the outcome of the first. */
  requestId?: Uint8Array;
  /**
   * Repeat the unit by itself if the connection is lost before the outcome is known: at most 3 times, within the timeout, and
   * under one `requestId` (a fresh random one if none was given), so that the broker executes it once and tells the first
   * outcome again. A broker that was itself restarted in between has forgotten the first outcome: with `ifInsertionId` it
   * refuses the repeat, without it may execute the unit again.
   */
  repeatable?: boolean;
  /** Ends the call. A unit that waits then leaves the queue; one that has begun runs to its end. */
  signal?: AbortSignal;
}

/** How long to wait for the turn unless told otherwise, in ms. */
export const DEFAULT_WAIT = 30_000;

/** What the card may take in all when the user names no deadline, in ms: above the broker's exchange timeout of 120 s. */
export const CARD_TIME = 150_000;

/** The longest deadline, in ms; the contract allows waits of 24 h. */
export const MAX_DEADLINE = 48 * 3600 * 1000;

/** Runs commands as one unit. */
export async function transmit(
  connection: Connection,
  reader: string,
  commands: Iterable<Command>,
  options: TransmitOptions,
): Promise<Transmitted> {
  const { limit, wait } = times(options.waitTimeout, options.timeout);
  const { signal } = options;
  const request = TransmitRequest.fromPartial({
    reader,
    waitTimeout: duration(wait),
    waitForCard: options.waitForCard,
    raw: options.raw,
    start: options.startReset ? CardStart.RESET : CardStart.UNSPECIFIED,
    ifInsertionId: options.ifInsertionId,
    ifStateTag: options.ifStateTag,
    requestId: options.requestId && Buffer.from(options.requestId),
  });
  request.commands = toWire(commands);
  if (options.repeatable && request.requestId.length === 0) {
    request.requestId = randomBytes(16);
  }
  checkLength(TransmitRequest.encode(request).finish().length);

  const end = Date.now() + limit;
  try {
    return await attempt(connection, request, limit, signal);
  } catch (first) {
    if (!options.repeatable || !isLost(first)) {
      throw first;
    }
    return repeat(connection, request, { wait, end, first, signal });
  }
}

interface Repeats {
  wait: number;
  /** When the unit's time is over, by the machine's clock. */
  end: number;
  /** How the first attempt failed. */
  first: unknown;
  signal?: AbortSignal | undefined;
}

async function repeat(connection: Connection, request: TransmitRequest, repeats: Repeats): Promise<Transmitted> {
  const { end, first, signal } = repeats;
  for (const pause of pauses()) {
    await sleep(pause, undefined, { signal }).catch(() => {
      throw signal ? aborted(signal, "unknown") : first;
    });
    const { limit, wait } = times(repeats.wait, Math.max(0, end - Date.now()));
    if (limit === 0) {
      break;
    }
    try {
      return await attempt(connection, { ...request, waitTimeout: duration(wait) }, limit, signal);
    } catch (error) {
      if (isLost(error) || error instanceof NotRunningError) {
        continue;
      }
      // True of this attempt, but the first one may have reached the card.
      if (error instanceof CardbrokerError && !(error instanceof StoppedError) && error.delivery === "not_sent") {
        break;
      }
      throw error;
    }
  }
  throw first;
}

async function attempt(
  connection: Connection,
  request: TransmitRequest,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<Transmitted> {
  return transmittedOrStopped(
    await call(connection, (stub, ...rest) => stub.transmit(...rest), request, { limit, signal }),
  );
}

/** Which time the call gets, and how long the request may wait for its turn below it, in ms. */
export function times(waitTimeout = DEFAULT_WAIT, timeout?: number): { limit: number; wait: number } {
  const wait = Math.min(waitTimeout, MAX_DEADLINE);
  // A wait of many minutes needs more than CARD_TIME behind it to keep its full length below the deadline.
  const limit = Math.min(timeout ?? wait + Math.max(CARD_TIME, wait / 8), MAX_DEADLINE);
  // Room for "not sent" to come back before gRPC ends the call by itself.
  const margin = Math.max(50, limit / 10);
  return { limit, wait: Math.min(wait, Math.max(0, limit - margin)) };
}
