/** Words for the values of the contract's enumerations: their names without the prefix. */

import { invalid } from "./error.js";

/** A generated enumeration. */
type Enumeration = Readonly<Record<string, number>>;

/** The words of an enumeration. */
export type Word<E> = Exclude<keyof E & string, "UNSPECIFIED" | "UNRECOGNIZED">;

/** The word for a value. A value that has none, because it is newer than this client or unspecified, stays a number. */
export function toWord<E extends Enumeration>(enumeration: E, value: number): Word<E> | number {
  const entry = Object.entries(enumeration).find(([, known]) => known === value && known > 0);
  return entry ? (entry[0] as Word<E>) : value;
}

/** The value for a word; 0, unspecified, for none. Throws if the enumeration has no such word. */
export function fromWord<E extends Enumeration>(enumeration: E, word: Word<E> | undefined, field: string): E[keyof E] {
  const value = word === undefined ? 0 : Object.hasOwn(enumeration, word) ? enumeration[word] : undefined;
  if (value === undefined || value < 0) {
    const words = Object.keys(enumeration).filter((known) => (enumeration[known] ?? 0) > 0);
    throw invalid(field, `${field}: ${String(word)} is none of ${words.join(", ")}`);
  }
  return value as E[keyof E];
}
