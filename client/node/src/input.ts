/** Converts a caller's words and times to the contract's values. Throws `InvalidError` for anything else. */

import type { Duration } from "../gen/google/protobuf/duration.js";
import { invalid } from "./error.js";
import { MAX_DEADLINE } from "./times.js";
import type { Enumeration, Word } from "./words.js";

/**
 * The value for a word; 0 (unspecified) without a word.
 *
 * @throws {@link InvalidError} if the enumeration has no such word.
 */
export function fromWord<E extends Enumeration>(enumeration: E, word: Word<E> | undefined, field: string): E[keyof E] {
  const value = word === undefined ? 0 : Object.hasOwn(enumeration, word) ? enumeration[word] : undefined;
  if (value === undefined || value < 0) {
    const words = Object.keys(enumeration).filter((known) => (enumeration[known] ?? 0) > 0);
    throw invalid(field, `${field}: ${String(word)} is none of ${words.join(", ")}`);
  }
  return value as E[keyof E];
}

/**
 * Converts milliseconds, cut to 48 h, to a duration of the contract.
 *
 * @throws {@link InvalidError} for negative values and NaN.
 */
export function toDuration(milliseconds: number, field: string): Duration {
  if (!(milliseconds >= 0)) {
    throw invalid(field, `${field}: ${milliseconds} ms is not a duration`);
  }
  const time = Math.min(milliseconds, MAX_DEADLINE);
  const seconds = Math.floor(time / 1000);
  const nanos = Math.round((time - seconds * 1000) * 1e6);
  return nanos < 1e9 ? { seconds, nanos } : { seconds: seconds + 1, nanos: 0 };
}
