/**
 * Ends a session's stream abruptly. Node sends END_STREAM before RST_STREAM when a stream is closed that can still be
 * written to, and @grpc/grpc-js offers no other way: a broker that reads END_STREAM first treats the session as closed
 * in order, and treats the card by its disposition.
 */

/** The property names that lead from a call of @grpc/grpc-js down to its HTTP/2 stream. */
const STEPS = ["call", "nextCall", "child", "underlyingCalls", "http2Stream"];
const MAX_DEPTH = 12;

/**
 * Resets the stream of a call without ending it, in the next turn of the event loop: by then the call has begun. If
 * the stream is not found, `disconnect` ends the connection with all its calls: better than a session that seems to
 * have been closed in order.
 */
export function reset(call: { cancel(): void }, disconnect: () => void): void {
  setImmediate(() => {
    const stream = findStream(call, 0);
    if (stream) {
      // Closing the stream calls `end`, which calls `_final`; this `_final` sends no END_STREAM.
      stream._final = (done) => done();
    } else {
      disconnect();
    }
    call.cancel();
  });
}

interface Http2Stream {
  rstCode: number;
  _final: (done: () => void) => void;
}

/** The HTTP/2 stream of a call; `undefined` before it exists, or with an unpinned version of @grpc/grpc-js. */
function findStream(from: unknown, depth: number): Http2Stream | undefined {
  if (typeof from !== "object" || from === null || depth > MAX_DEPTH) {
    return undefined;
  }
  if ("rstCode" in from && "_final" in from) {
    return from as Http2Stream;
  }
  const next: unknown[] = Array.isArray(from) ? from : STEPS.map((step) => (from as Record<string, unknown>)[step]);
  for (const inner of next) {
    const found = findStream(inner, depth + 1);
    if (found) {
      return found;
    }
  }
  return undefined;
}
