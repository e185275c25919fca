/** A stream of the broker's messages, with a limit for each wait. */

import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";

import { bounded } from "./bounded.js";
import { cancel } from "./call.js";
import type { Connection, Line } from "./connection.js";
import { CardbrokerError, lost, notSent } from "./error.js";
import { SILENCE_LIMIT } from "./conversation.js";
import { ofStatus } from "./failure.js";
import { MAX_DEADLINE } from "./times.js";

/** The longest wait for the first message, in ms. */
const OPEN_TIMEOUT = 10_000;

/** The options of a stream. */
export interface Opening<Message> {
  open: (line: Line) => ClientReadableStream<Message>;
  signal: AbortSignal;
}

/**
 * Yields the messages of one stream.
 *
 * @throws At its end, whatever the cause, with `NOT_SENT`.
 */
export async function* messages<Message>(
  connection: Connection,
  { open, signal }: Opening<Message>,
): AsyncGenerator<Message, never, void> {
  const line = await bounded(connection.line(), { limit: MAX_DEADLINE, signal });
  const stream = open(line);
  // The iterator reports errors; this handler is for errors after its end.
  stream.on("error", () => {});
  const incoming: AsyncIterator<Message, undefined> = stream[Symbol.asyncIterator]();
  let limit = OPEN_TIMEOUT;
  try {
    for (;;) {
      const message = await bounded(incoming.next(), { limit, signal });
      if (message.done) {
        throw lost("the broker ended the stream");
      }
      yield message.value;
      limit = SILENCE_LIMIT;
    }
  } catch (error) {
    throw notSent(error instanceof CardbrokerError ? error : ofStatus(error as ServiceError));
  } finally {
    cancel(stream);
  }
}
