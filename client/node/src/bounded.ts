/** Waits with an end: for so long, and until somebody's signal. */

import { aborted, deadlinePassed, notSent } from "./error.js";

/** What ends a wait early. */
export interface Bound {
  /** The longest wait, in ms; at most 2^31. */
  limit: number;
  /** Ends it as well. */
  signal?: AbortSignal | undefined;
}

/**
 * What `promise` gives, or a failure that is `not_sent` when a bound comes first. For waits in which nothing is sent; nobody hears
 * what comes of the promise afterwards.
 */
export function bounded<T>(promise: Promise<T>, { limit, signal }: Bound): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => signal && settle(() => reject(aborted(signal, "not_sent")));
    const timer = setTimeout(() => settle(() => reject(notSent(deadlinePassed()))), limit);
    const settle = (act: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      act();
    };
    promise.then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    );
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) {
      abort();
    }
  });
}
