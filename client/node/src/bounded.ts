/** Waits with an end: for so long, and until somebody's signal. */

import { type CardbrokerError, aborted, deadlinePassed, notSent } from "./error.js";

/** What ends a wait early. */
export interface Bound {
  /** The longest wait, in ms; at most 2^31. */
  limit: number;
  /** Ends it as well. */
  signal?: AbortSignal | undefined;
}

/**
 * What `promise` gives, or a failure that is `NOT_SENT` when a bound comes first. For waits in which nothing is sent;
 * nobody hears what comes of the promise afterwards.
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
