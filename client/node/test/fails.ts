/** What a promise that must fail fails with. */

import assert from "node:assert/strict";

/** The failure of `promise`, which is of this type. */
export async function fails<E extends Error>(
  type: abstract new (...parameters: never[]) => E,
  promise: Promise<unknown>,
): Promise<E> {
  const outcome = await promise.then(
    () => new Error("nothing failed"),
    (error: unknown) => error,
  );
  assert(outcome instanceof type, outcome as Error);
  return outcome;
}
