/** What a watch knows of the readers, and what a message changes in it: no I/O. */

import { isDeepStrictEqual } from "node:util";

import type { ReadersChange, ReadersSnapshot } from "../gen/cardbroker/v1/reader.js";
import { Reader } from "./reader.js";

/** What happened to one reader. */
export type ReaderEvent =
  { readonly type: "updated"; readonly reader: Reader } | { readonly type: "removed"; readonly reader: Reader };

/**
 * Replaces all that was known and tells what differs: after a loss of the connection a snapshot repeats what was known.
 */
export function applySnapshot(known: Map<string, Reader>, { readers }: ReadersSnapshot): ReaderEvent[] {
  const named = new Set(readers.map(({ name }) => name));
  const removedNames = [...known.keys()].filter((name) => !named.has(name));
  return applyChange(known, { updated: readers, removedNames });
}

/** Changes what was known and tells what differs. */
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
