/** Words for the values of the contract's enumerations: the names without the prefix. */

/** An enumeration of the generated code. */
export type Enumeration = Readonly<Record<string, number>>;

/** The known words of an enumeration. */
export type Word<E> = Exclude<keyof E & string, "UNSPECIFIED" | "UNRECOGNIZED">;

/** The word for a value. An unspecified value, or one newer than this client, stays a number. */
export function toWord<E extends Enumeration>(enumeration: E, value: number): Word<E> | number {
  const entry = Object.entries(enumeration).find(([, known]) => known === value && known > 0);
  return entry ? (entry[0] as Word<E>) : value;
}
