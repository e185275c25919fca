/** Heartbeats of a session: who is silent says that he is alive. */

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { type ClientDuplexStream, status } from "@grpc/grpc-js";

import { OpenSessionRequest, OpenSessionResponse, SessionOpen, SessionTransmit } from "../gen/cardbroker/v1/session.js";
import { Conversation } from "../src/conversation.js";

type Stream = ClientDuplexStream<OpenSessionRequest, OpenSessionResponse>;

/** A stream that keeps what is written. */
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

test("heartbeats are written in silence only, also while the session is being opened, and end with it", async () => {
  const stream = new FakeStream();
  const conversation = new Conversation(stream as unknown as Stream, SessionOpen.create(), () => {}, 300);
  await sleep(400);
  assert.deepEqual(stream.kinds, ["open", "heartbeat"]);

  stream.emit("data", OpenSessionResponse.fromPartial({ response: { $case: "opened", value: {} } }));
  stream.emit("data", OpenSessionResponse.fromPartial({ response: { $case: "heartbeat", value: {} } }));
  stream.emit("data", OpenSessionResponse.create());
  await conversation.opened;
  // Each message starts the silence anew.
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
