/** Following one's own waiting requests. */

import type { Connection, Line } from "./connection.js";
import { messages } from "./stream.js";
import { type WaitingTurn, waitingTurn } from "./turn.js";

/**
 * Tells the waiting requests at a reader, or with "" at all, at once and whenever something has changed; heartbeats are
 * not told.
 */
export async function* watchTurn(
  connection: Connection,
  reader: string,
  signal: AbortSignal = new AbortController().signal,
): AsyncGenerator<readonly WaitingTurn[], void, void> {
  const open = ({ stub, metadata }: Line) => stub.watchTurn({ reader }, metadata);
  try {
    for await (const { waiting, isHeartbeat } of messages(connection, { open, signal })) {
      if (!isHeartbeat) {
        yield waiting.map(waitingTurn);
      }
    }
  } catch (error) {
    if (!signal.aborted) {
      throw error;
    }
  }
}
