/** Failures outside the conformance kit: malformed details, and JSON. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Metadata, status } from "@grpc/grpc-js";

import { Failure, StatusDetails } from "../gen/cardbroker/v1/error.js";
import { aborted } from "../src/error.js";
import { inBand, isUnreported, ofStatus, reportedFailure } from "../src/failure.js";
import { isLost } from "../src/repeat.js";

function ended(details?: Uint8Array, trailers: Record<string, string> = {}) {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(trailers)) {
    metadata.set(name, value);
  }
  if (details) {
    metadata.set("grpc-status-details-bin", Buffer.from(details));
  }
  return { code: status.UNAVAILABLE, details: "words", metadata };
}

test("plain trailers replace malformed details", () => {
  const unreadable = (typeUrl: string) =>
    StatusDetails.encode({ code: 14, message: "", details: [{ typeUrl, value: Buffer.of(0x0a, 0xff) }] }).finish();
  const details = [
    Buffer.of(0xff, 0xff, 0xff),
    unreadable("type.googleapis.com/cardbroker.v1.Failure"),
    unreadable("type.googleapis.com/google.rpc.ErrorInfo"),
    unreadable("no address"),
  ];
  for (const bytes of details) {
    assert.equal(reportedFailure(ended(bytes)), undefined);
    const error = ofStatus(ended(bytes, { "cardbroker-reason": "NEWER_ONE", "cardbroker-delivery": "not_sent" }));
    assert.deepEqual([error.reason, error.delivery, error.code], ["NEWER_ONE", "NOT_SENT", 14]);
  }
});

test("a delivery newer than this client counts as unknown", () => {
  assert.equal(ofStatus(ended(undefined, { "cardbroker-delivery": "halfway" })).delivery, "UNKNOWN");
});

test("an unimplemented method points to another server or version", () => {
  const { message } = ofStatus({ ...ended(), code: status.UNIMPLEMENTED });
  assert.equal(message, "the server at the endpoint is not cardbrokerd, or an older version");
});

test("a failure in a session without code is UNKNOWN", () => {
  assert.equal(inBand(Failure.create()).code, status.UNKNOWN);
  assert.equal(inBand(Failure.create({ code: 8 })).code, 8);
});

test("a number of tries may be absent", () => {
  for (const triesLeft of [undefined, 0, 2]) {
    assert.equal(inBand(Failure.create({ triesLeft })).triesLeft, triesLeft);
  }
  assert(!("triesLeft" in inBand(Failure.create())));
});

test("only failures from elsewhere than the broker allow repeats", () => {
  for (const code of [status.UNAVAILABLE, status.UNKNOWN, status.INTERNAL, status.CANCELLED]) {
    assert(isLost(ofStatus({ ...ended(), code })));
    assert(!isLost(ofStatus({ ...ended(undefined, { "cardbroker-delivery": "unknown" }), code })));
  }
  const late = ofStatus({ ...ended(), code: status.DEADLINE_EXCEEDED });
  assert(isUnreported(late) && !isLost(late));
  assert(!isLost(aborted(new AbortController().signal, "UNKNOWN")));
});

test("the JSON of an error contains its failure", () => {
  const error = ofStatus(ended(undefined, { "cardbroker-reason": "QUEUE_FULL", "cardbroker-delivery": "not_sent" }));
  assert.deepEqual(JSON.parse(JSON.stringify(error)), {
    name: "FailedError",
    kind: "failed",
    reason: "QUEUE_FULL",
    delivery: "NOT_SENT",
    code: 14,
    message: "words",
    fieldViolations: [],
    isPermanent: false,
  });
});
