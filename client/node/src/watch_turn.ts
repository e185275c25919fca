/** The watch of this program's waiting requests. */

import type { Connection, Line } from "./connection.js";
import { messages } from "./stream.js";
import { type WaitingTurn, waitingTurn } from "./turn.js";

/**
 * Yields the waiting requests at a reader, or at all readers with "", at once and after each change, without
 * heartbeats.
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
