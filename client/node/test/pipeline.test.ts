/** The restart of a session's messages after a failure. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { type Outcome, Pipeline } from "../src/pipeline.js";

function answer(pipeline: Pipeline<undefined>, id: number, outcome: Outcome): number {
  const answered = pipeline.answer(id, outcome);
  assert(answered, "the answer belongs to the oldest message");
  return answered.failureCount;
}

test("without failures no message restarts", () => {
  const pipeline = new Pipeline<undefined>();
  assert.deepEqual(pipeline.send(0, undefined), { id: 1, restart: false });
  assert.deepEqual(pipeline.send(0, undefined), { id: 2, restart: false });
  assert.equal(answer(pipeline, 1, "done"), 0);
  assert.equal(pipeline.answer(3, "done"), undefined);
});

test("only the first message after a known failure restarts", () => {
  const pipeline = new Pipeline<undefined>();
  pipeline.send(0, undefined);
  pipeline.send(0, undefined);
  const known = answer(pipeline, 1, "failed");
  assert.deepEqual(pipeline.send(0, undefined), { id: 3, restart: false }, "sent before the failure was known");
  assert.deepEqual(pipeline.send(known, undefined), { id: 4, restart: true });
  assert.deepEqual(pipeline.send(known, undefined), { id: 5, restart: false });
  for (const id of [2, 3]) {
    assert.equal(answer(pipeline, id, "preceding_failed"), known, "no failure of its own");
  }
  assert.deepEqual(pipeline.send(known, undefined), { id: 6, restart: false });
});

test("a failure after the restart needs another", () => {
  const pipeline = new Pipeline<undefined>();
  pipeline.send(0, undefined);
  const first = answer(pipeline, 1, "failed");
  pipeline.send(first, undefined);
  const second = answer(pipeline, 2, "failed");
  assert.deepEqual(pipeline.send(first, undefined), { id: 3, restart: false });
  assert.deepEqual(pipeline.send(second, undefined), { id: 4, restart: true });
});

test("an unexplained PRECEDING_FAILED counts as a failure", () => {
  const pipeline = new Pipeline<undefined>();
  pipeline.send(0, undefined);
  pipeline.send(0, undefined);
  answer(pipeline, 1, "done");
  const known = answer(pipeline, 2, "preceding_failed");
  assert.deepEqual(pipeline.send(known, undefined), { id: 3, restart: true });
});

test("the sender's choice of restart wins", () => {
  const pipeline = new Pipeline<undefined>();
  assert.equal(pipeline.send(0, undefined, true).restart, true);
  const known = answer(pipeline, 1, "failed");
  assert.equal(pipeline.send(known, undefined, false).restart, false);
  assert.equal(pipeline.send(known, undefined).restart, true);
});
