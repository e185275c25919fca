/** Times: milliseconds here, durations on the wire. */

import type { Duration } from "../gen/google/protobuf/duration.js";

/** How long the broker lets a request wait that does not say, in ms. */
const DEFAULT_WAIT = 30_000;

/**
 * What the card may take in all when the user names no deadline, in ms: above the broker's exchange timeout of 120 s.
 */
export const CARD_TIME = 150_000;

/** The longest deadline, in ms; the contract allows waits of 24 h. */
export const MAX_DEADLINE = 48 * 3600 * 1000;

/** A duration of the wire in ms; 0 if it is absent. */
export function milliseconds(duration: Duration | undefined): number {
  return duration ? duration.seconds * 1000 + duration.nanos / 1e6 : 0;
}

/** When to give up on a call, in ms: at `timeout`, else after the wait for the turn and the card's time. */
export function callLimit(waitTimeout = DEFAULT_WAIT, timeout?: number): number {
  // The broker gives up a little before the end of a call. A wait of many minutes needs more than CARD_TIME behind it.
  return Math.min(timeout ?? waitTimeout + Math.max(CARD_TIME, waitTimeout / 8), MAX_DEADLINE);
}
