/** Waits with a time limit and an abort signal. */

import { type CardbrokerError, aborted, deadlinePassed, notSent } from "./error.js";

/** The limits of a wait. */
export interface Bound {
  /** The longest wait, in ms; at most 2^31. */
  limit: number;
  /** Ends the wait when it is aborted. */
  signal?: AbortSignal | undefined;
}

/**
 * The result of `promise`, or a `NOT_SENT` failure when a limit comes first. For waits in which nothing is sent; a
 * later outcome of the promise is ignored.
 */
export async function bounded<T>(promise: Promise<T>, { limit, signal }: Bound): Promise<T> {
  let end: (error: CardbrokerError) => void = () => {};
  const early = new Promise<never>((_, reject) => (end = reject));
  const timer = setTimeout(() => end(notSent(deadlinePassed())), limit);
  const abort = () => signal && end(aborted(signal, "NOT_SENT"));
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) {
    abort();
  }
  try {
    return await Promise.race([early, promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
