/** Units of commands: what goes to a card together, and how long it may take. */

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { TransmitRequest } from "../gen/cardbroker/v1/transmit.js";
import { TurnOptions as WireTurn } from "../gen/cardbroker/v1/turn.js";
import { call } from "./call.js";
import { type Command, checkMessage, toWire } from "./command.js";
import type { Connection } from "./connection.js";
import { CardbrokerError, FailedError, NotRunningError, aborted } from "./error.js";
import { type Patience, getBroker, getReader } from "./query.js";
import { isLost, pauses } from "./repeat.js";
import { StoppedError, type Transmitted, transmittedOrStopped } from "./response.js";
import { callLimit } from "./times.js";
import { type Disposition, type TurnOptions, dispositionToWire, turnToWire } from "./turn.js";

/** How to run a unit. */
export interface TransmitOptions extends TurnOptions {
  /**
   * When to give up on the whole call, in ms from now, at most 48 h. Default: the wait and 150 s for the card. A unit
   * that has begun then goes on without this program and its fate is unknown; for one that waits the broker tells a
   * little earlier that it was not sent.
   */
  timeout?: number;
  /**
   * What happens to the card after the last command that runs. Default: `LEAVE`; others need the permission `reset`.
   */
  disposition?: Disposition;
  /** Makes a repeat safe: a second unit with the same id (16–64 bytes, random) gets the outcome of the first. */
  requestId?: Uint8Array;
  /**
   * Repeat the unit by itself if the connection is lost before the broker's word came: at most 3 times, within the
   * timeout, and under one `requestId` (a fresh random one if none was given), so that the broker executes it once and
   * tells the first outcome again. None is sent when half the time is over for which the broker keeps outcomes. A broker that was itself restarted in between has forgotten that outcome: so the
   * unit runs on one insertion only, `ifInsertionId` or else the one that is in the reader when it is first sent. Where
   * there is none, nothing is repeated.
   */
  repeatable?: boolean;
  /**
   * Lets a `repeatable` unit run on any card. If the broker is restarted in between, a repeat may then run once more.
   */
  anyCard?: boolean;
  /** Ends the call. A unit that waits then leaves the queue; one that has begun runs to its end. */
  signal?: AbortSignal;
}

/** Runs commands as one unit. */
export async function transmit(
  connection: Connection,
  name: (patience: Patience) => Promise<string>,
  commands: Iterable<Command>,
  options: TransmitOptions,
): Promise<Transmitted> {
  // Everything is read before the first wait: afterwards the caller may wipe or change what it gave.
  const limit = callLimit(options.waitTimeout, options.timeout);
  const { repeatable, anyCard, signal, requestId } = options;
  const end = Date.now() + limit;
  const request = TransmitRequest.create();
  request.turn = turnToWire(options);
  request.commands = toWire(commands);
  request.requestId = requestId ? Buffer.from(requestId) : repeatable ? randomBytes(16) : request.requestId;
  request.disposition = dispositionToWire(options.disposition);
  checkMessage(() => TransmitRequest.encode(request));
  const patience = { end, signal };
  request.reader = await name(patience);
  checkMessage(() => TransmitRequest.encode(request));
  if (!repeatable) {
    return attempt(connection, request, patience);
  }

  const { outcomeLifetime } = (await getBroker(connection, patience)).limits;
  const mayRepeat = anyCard || (await fixInsertion(connection, request, patience));
  // Not later than it was sent, so that no outcome is forgotten that is still asked for.
  const lastRepeat = Date.now() + outcomeLifetime / 2;
  try {
    return await attempt(connection, request, patience);
  } catch (first) {
    if (!mayRepeat || !isLost(first)) {
      throw first;
    }
    return repeat(connection, request, { ...patience, lastRepeat, first });
  }
}

/** Binds the unit to an insertion; false if there is no card yet. */
async function fixInsertion(connection: Connection, request: TransmitRequest, patience: Patience): Promise<boolean> {
  if (request.turn?.ifInsertionId) {
    return true;
  }
  const { insertionId } = await getReader(connection, request.reader, patience);
  if (insertionId) {
    request.turn = { ...(request.turn ?? WireTurn.create()), ifInsertionId: insertionId };
  }
  return insertionId !== "";
}

/** When the unit's time is over, by the machine's clock, or what ends it before. */
interface Span {
  end: number;
  signal: AbortSignal | undefined;
}

interface Repeats extends Span {
  /** After which time no repeat is sent. */
  lastRepeat: number;
  /** How the first attempt failed. */
  first: FailedError;
}

async function repeat(connection: Connection, request: TransmitRequest, repeats: Repeats): Promise<Transmitted> {
  const { end, lastRepeat, first, signal } = repeats;
  for (const pause of pauses()) {
    await sleep(pause, undefined, { signal }).catch(() => {
      throw signal ? aborted(signal, "UNKNOWN") : first;
    });
    const connectLimit = Math.min(end, lastRepeat) - Date.now();
    if (connectLimit <= 0) {
      break;
    }
    try {
      return await attempt(connection, request, { end, signal }, connectLimit);
    } catch (error) {
      if (isLost(error) || error instanceof NotRunningError) {
        continue;
      }
      // True of this attempt, but the first one may have reached the card, if the broker was restarted in between.
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
  const limit = Math.max(0, end - Date.now());
  const bound = { limit, signal, ...(connectLimit !== undefined && { connectLimit }) };
  return transmittedOrStopped(await call(connection, (stub, ...rest) => stub.transmit(...rest), request, bound));
}
