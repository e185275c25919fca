/** Words for the values of the contract's enumerations: their names without the prefix. */

/** A generated enumeration. */
export type Enumeration = Readonly<Record<string, number>>;

/** The words of an enumeration. */
export type Word<E> = Exclude<keyof E & string, "UNSPECIFIED" | "UNRECOGNIZED">;

/** The word for a value. A value that has none, because it is newer than this client or unspecified, stays a number. */
export function toWord<E extends Enumeration>(enumeration: E, value: number): Word<E> | number {
  const entry = Object.entries(enumeration).find(([, known]) => known === value && known > 0);
  return entry ? (entry[0] as Word<E>) : value;
}
