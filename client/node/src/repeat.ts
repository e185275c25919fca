/** Repeats of a unit whose connection was lost: after what, and how soon. */

import { status } from "@grpc/grpc-js";

import type { FailedError } from "./error.js";
import { isUntold } from "./failure.js";

const REPEATS = 3;
const FIRST_PAUSE = 100;

/** Codes of statuses that a library or a proxy may make of a lost connection. */
const LOST: readonly unknown[] = [status.UNAVAILABLE, status.UNKNOWN, status.INTERNAL, status.CANCELLED];

/** Whether the connection broke before the broker's word came; not if the caller ended the call. */
export function isLost(error: unknown): error is FailedError {
  return isUntold(error) && LOST.includes(error.code);
}

/**
 * How long to pause before each repeat, in ms: twice as long each time, half fixed and half random, so that many
 * clients do not come back at the same moment.
 */
export function* pauses(): Generator<number> {
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    yield jittered(FIRST_PAUSE * 2 ** repeat);
  }
}

/** A pause of at most so long, half of it random. */
export function jittered(pause: number): number {
  return pause * (0.5 + Math.random() / 2);
}
