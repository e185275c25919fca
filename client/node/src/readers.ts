/** The readers of a watch, and the changes by its messages. No I/O. */

import { isDeepStrictEqual } from "node:util";

import type { ReadersChange, ReadersSnapshot } from "../gen/cardbroker/v1/reader.js";
import { Reader } from "./reader.js";

/** A change of one reader. */
export type ReaderEvent =
  { readonly type: "updated"; readonly reader: Reader } | { readonly type: "removed"; readonly reader: Reader };

/**
 * Replaces all readers and returns the differences: a snapshot after a reconnect repeats known readers.
 */
export function applySnapshot(known: Map<string, Reader>, { readers }: ReadersSnapshot): ReaderEvent[] {
  const named = new Set(readers.map(({ name }) => name));
  const removedNames = [...known.keys()].filter((name) => !named.has(name));
  return applyChange(known, { updated: readers, removedNames });
}

/** Applies a change and returns the differences. */
export function applyChange(known: Map<string, Reader>, { updated, removedNames }: ReadersChange): ReaderEvent[] {
  const events: ReaderEvent[] = [];
  for (const name of removedNames) {
    const reader = known.get(name);
    if (reader && known.delete(name)) {
      events.push({ type: "removed", reader });
    }
  }
  for (const wire of updated) {
    const reader = new Reader(wire);
    const before = known.get(reader.name);
    known.set(reader.name, reader);
    if (!isDeepStrictEqual(before, reader)) {
      events.push({ type: "updated", reader });
    }
  }
  return events;
}
