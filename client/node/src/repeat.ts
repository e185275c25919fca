/** Repeats of a unit after a lost connection: the condition and the pauses. */

import { status } from "@grpc/grpc-js";

import type { FailedError } from "./error.js";
import { isUnreported } from "./failure.js";

const REPEATS = 3;
const FIRST_PAUSE = 100;

/** The status codes that libraries and proxies use for a lost connection. */
const LOST: readonly unknown[] = [status.UNAVAILABLE, status.UNKNOWN, status.INTERNAL, status.CANCELLED];

/** Whether the connection broke before a failure came from the broker, and the caller did not end the call. */
export function isLost(error: unknown): error is FailedError {
  return isUnreported(error) && LOST.includes(error.code);
}

/**
 * The pauses before the repeats, in ms: each twice as long, half fixed and half random, so that many clients do not
 * return at the same moment.
 */
export function* pauses(): Generator<number> {
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    yield jittered(FIRST_PAUSE * 2 ** repeat);
  }
}

/** A pause of at most `longest` ms, half of it random. */
export function jittered(pause: number): number {
  return pause * (0.5 + Math.random() / 2);
}
