/** Heartbeats of a session: each side sends them in its own silence. */

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { type ClientDuplexStream, Metadata, status } from "@grpc/grpc-js";

import { OpenSessionRequest, OpenSessionResponse, SessionOpen, SessionTransmit } from "../gen/cardbroker/v1/session.js";
import { reset } from "../src/abrupt.js";
import { Conversation } from "../src/conversation.js";
import { FailedError } from "../src/index.js";
import { fails } from "./fails.js";

type Stream = ClientDuplexStream<OpenSessionRequest, OpenSessionResponse>;

/** A stream that records the written messages. */
class FakeStream extends EventEmitter {
  readonly written: OpenSessionRequest[] = [];

  write(message: OpenSessionRequest): void {
    this.written.push(message);
  }

  cancel(): void {}

  end(): void {}

  get kinds(): string[] {
    return this.written.map(({ request }) => request?.$case ?? "");
  }
}

test("heartbeats are sent in silence, from opening to end", async () => {
  const stream = new FakeStream();
  const conversation = new Conversation(
    stream as unknown as Stream,
    SessionOpen.create(),
    () => {},
    () => {},
    300,
  );
  await sleep(400);
  assert.deepEqual(stream.kinds, ["open", "heartbeat"]);

  stream.emit("data", OpenSessionResponse.fromPartial({ response: { $case: "opened", value: {} } }));
  stream.emit("data", OpenSessionResponse.fromPartial({ response: { $case: "heartbeat", value: {} } }));
  stream.emit("data", OpenSessionResponse.create());
  await conversation.opened;
  // Each message restarts the silence.
  for (let message = 0; message < 3; message++) {
    const value = SessionTransmit.create();
    conversation.ask({ message: { $case: "transmit", value }, knownFailureCount: 0 }).catch(() => {});
    await sleep(150);
  }
  assert.deepEqual(stream.kinds.slice(2), ["transmit", "transmit", "transmit"]);
  await sleep(300);
  assert.equal(stream.kinds.at(-1), "heartbeat");

  stream.emit("end");
  stream.emit("status", { code: status.UNAVAILABLE, details: "gone" });
  const count = stream.written.length;
  await sleep(400);
  assert.equal(stream.written.length, count);
  assert(!conversation.isOpen);
});

test("a broker silent for too long counts as lost", async () => {
  const stream = new FakeStream();
  const conversation = new Conversation(
    stream as unknown as Stream,
    SessionOpen.create(),
    () => {},
    () => {},
    9_999,
    300,
  );
  await sleep(200);
  stream.emit("data", OpenSessionResponse.fromPartial({ response: { $case: "opened", value: {} } }));
  await conversation.opened;
  const value = SessionTransmit.create();
  const asked = fails(FailedError, conversation.ask({ message: { $case: "transmit", value }, knownFailureCount: 0 }));
  await sleep(200);
  assert(conversation.isOpen);
  await sleep(200);
  const { delivery, message } = await asked;
  assert.deepEqual([delivery, conversation.isOpen], ["UNKNOWN", false]);
  assert(message.includes("silent"));

  const opening = new Conversation(
    stream as unknown as Stream,
    SessionOpen.create(),
    () => {},
    () => {},
    9_999,
    50,
  );
  // The timer alone does not keep a program alive.
  await sleep(200);
  assert.equal((await fails(FailedError, opening.opened)).delivery, "NOT_SENT");
});

test("the broker's delivery at a session's end is kept", async () => {
  for (const delivery of ["unknown", "executed", "not_sent"]) {
    const stream = new FakeStream();
    const conversation = new Conversation(
      stream as unknown as Stream,
      SessionOpen.create(),
      () => {},
      () => {},
    );
    stream.emit("data", OpenSessionResponse.fromPartial({ response: { $case: "opened", value: {} } }));
    const value = SessionTransmit.create();
    const asked = fails(FailedError, conversation.ask({ message: { $case: "transmit", value }, knownFailureCount: 0 }));
    const metadata = new Metadata();
    metadata.set("cardbroker-delivery", delivery);
    stream.emit("end");
    stream.emit("status", { code: status.DATA_LOSS, details: "the end", metadata });
    assert.equal((await asked).delivery, delivery.toUpperCase());
  }
});

test("the connection ends if its stream cannot be reset", async () => {
  let isCut = false;
  reset({ cancel() {} }, () => (isCut = true));
  await sleep(20);
  assert(isCut);
});
