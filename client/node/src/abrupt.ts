/**
 * Ends a session's stream abruptly. Node sends END_STREAM before RST_STREAM when a stream is closed that can still be
 * written to, and @grpc/grpc-js has no other way: a broker that reads the former first takes the session for one that
 * ended in good order, and leaves the card as that was asked for.
 */

/** The objects of @grpc/grpc-js from a call down to its HTTP/2 stream; each holds the next one under one of these names. */
const STEPS = ["call", "nextCall", "child", "underlyingCalls", "http2Stream"];
const MAX_DEPTH = 12;

/**
 * Resets the stream of a call without ending it, in the next turn of the event loop: by then the call has begun. Where
 * the stream is not found, `disconnect` ends the connection with all its calls: better than a session that seems to
 * have ended in good order.
 */
export function reset(call: { cancel(): void }, disconnect: () => void): void {
  setImmediate(() => {
    const stream = findStream(call, 0);
    if (stream) {
      // Called by `end`, which closing calls: now it tells the peer nothing.
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

/** The HTTP/2 stream of a call; `undefined` if it has none yet, or this is another @grpc/grpc-js than package.json pins. */
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
