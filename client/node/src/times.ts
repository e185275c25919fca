/** Waits and deadlines in milliseconds, and durations of the contract. */

import type { Duration } from "../gen/google/protobuf/duration.js";

/** The wait that the broker grants a request without `waitTimeout`, in ms. */
const DEFAULT_WAIT = 30_000;

/**
 * The time for the card in a call without `timeout`, in ms: above the broker's exchange timeout of 120 s.
 */
export const CARD_TIME = 150_000;

/** The longest deadline of a call, in ms; the contract allows waits of 24 h. */
export const MAX_DEADLINE = 48 * 3600 * 1000;

/** Converts a duration of the contract to ms; 0 if it is absent. */
export function milliseconds(duration: Duration | undefined): number {
  return duration ? duration.seconds * 1000 + duration.nanos / 1e6 : 0;
}

/** The deadline of a call, in ms: `timeout`, else the wait for the turn and the time for the card. */
export function callLimit(waitTimeout = DEFAULT_WAIT, timeout?: number): number {
  // The broker ends the wait a little before the deadline. A wait of many minutes needs more than CARD_TIME behind it.
  return Math.min(timeout ?? waitTimeout + Math.max(CARD_TIME, waitTimeout / 8), MAX_DEADLINE);
}
