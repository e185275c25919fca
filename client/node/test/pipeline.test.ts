/** Which message of a session restarts it after a failure. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { type Outcome, Pipeline } from "../src/pipeline.js";

function answer(pipeline: Pipeline<undefined>, id: number, outcome: Outcome): number {
  const answered = pipeline.answer(id, outcome);
  assert(answered, "it was this one's turn");
  return answered.failureCount;
}

test("without failures nothing restarts and answers come in order", () => {
  const pipeline = new Pipeline<undefined>();
  assert.deepEqual(pipeline.send(0, undefined), { id: 1, restart: false });
  assert.deepEqual(pipeline.send(0, undefined), { id: 2, restart: false });
  assert.equal(answer(pipeline, 1, "done"), 0);
  assert.equal(pipeline.answer(3, "done"), undefined);
});

test("the first message sent in the light of the failure restarts and only that one", () => {
  const pipeline = new Pipeline<undefined>();
  pipeline.send(0, undefined);
  pipeline.send(0, undefined);
  const known = answer(pipeline, 1, "failed");
  assert.deepEqual(pipeline.send(0, undefined), { id: 3, restart: false }, "decided on before the failure was known");
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

test("what the broker counts as a failure is one", () => {
  const pipeline = new Pipeline<undefined>();
  pipeline.send(0, undefined);
  pipeline.send(0, undefined);
  answer(pipeline, 1, "done");
  const known = answer(pipeline, 2, "preceding_failed");
  assert.deepEqual(pipeline.send(known, undefined), { id: 3, restart: true });
});

test("a sender's own wish wins", () => {
  const pipeline = new Pipeline<undefined>();
  assert.equal(pipeline.send(0, undefined, true).restart, true);
  const known = answer(pipeline, 1, "failed");
  assert.equal(pipeline.send(known, undefined, false).restart, false);
  assert.equal(pipeline.send(known, undefined).restart, true);
});
