/** The error of a promise that must fail. */

import assert from "node:assert/strict";

/** The error of `promise`, which must be of the type `kind`. */
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
