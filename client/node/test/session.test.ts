/** Sessions: their messages, their failures and their ends. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { status } from "@grpc/grpc-js";

import { SessionOpen } from "../gen/cardbroker/v1/session.js";
import { Connection } from "../src/connection.js";
import { Conversation } from "../src/conversation.js";
import { parseEndpoint } from "../src/endpoint.js";
import { own } from "../src/error.js";
import { FailedError, InvalidError, type Session, StoppedError } from "../src/index.js";
import { CallMetadata } from "../src/metadata.js";
import {
  Broker,
  GET_RESPONSE,
  INCREMENT,
  PROTECTED,
  READER,
  SELECT,
  SELECT_AND_FETCH,
  VERIFY,
  echo,
  fault,
  hex,
  raw,
  slow,
  until,
} from "./broker.js";
import { fails } from "./fails.js";

test("a session keeps the card's state between its calls", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const session = await client.openSession(READER);
  assert.equal(await statusWord(session, VERIFY), 0x9000);
  assert.equal(await statusWord(session, PROTECTED), 0x9000);
  const answer = await session.transmit([raw(SELECT_AND_FETCH)]);
  assert.equal(answer.results[0]?.statusWord, 0x6113);
  assert.equal(answer.insertionId, session.insertionId);
  assert.deepEqual(await session.reset(), session.atr);
  assert.deepEqual(await session.reset("COLD"), session.atr);
  assert.equal(await statusWord(session, PROTECTED), 0x6982);
  await session.close();
  assert(!session.isOpen);
  const late = await fails(FailedError, session.transmit([SELECT]));
  assert.equal(late.delivery, "NOT_SENT");
});

test("leaving the block closes the session", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const ended: Session[] = [];
  while (ended.length < 2) {
    await using session = await client.openSession(READER, { waitTimeout: 0 });
    assert.equal(await statusWord(session, SELECT), 0x9000);
    ended.push(session);
  }
  assert.deepEqual(
    ended.map(({ isOpen }) => isOpen),
    [false, false],
  );
});

test("an exception aborts the session and resets the card", async (test) => {
  const broker = await Broker.start(test);
  const [client, group] = [await broker.client(test), { group: "shared-by-the-two" }];
  const holder = await broker.client(test, group);
  let waited: Promise<FailedError> | undefined;
  const use = async (session: Session) => {
    assert.equal(await statusWord(session, VERIFY), 0x9000);
    void fails(Error, session.transmit([slow(200)]));
    waited = fails(FailedError, session.transmit([INCREMENT]));
    await session.transmit([hex("00")]);
  };
  const error = await fails(InvalidError, holder.withSession(READER, use, { disposition: "LEAVE" }));
  assert.equal(error.message, "commands[0]: 1 bytes: an APDU has 4 to 65544");
  assert.equal((await waited)?.delivery, "UNKNOWN");

  const { results } = await (await broker.client(test, group)).transmit(READER, [PROTECTED]);
  assert.equal(results[0]?.statusWord, 0x6982, "reset although it should have been left");
  const counter = await client.transmit(READER, [INCREMENT]);
  assert.equal(counter.results[0]?.data.readUInt32BE(), 1, "the command that waited has not run");
});

test("an aborted session always resets the card", async (test) => {
  const client = await (await Broker.start(test)).client(test, { group: "the-same-one" });
  for (let session = 0; session < 50; session++) {
    const aborted = await client.openSession(READER, { disposition: "LEAVE" });
    assert.equal(await statusWord(aborted, VERIFY), 0x9000);
    aborted.abort();
    const { results } = await client.transmit(READER, [PROTECTED]);
    assert.equal(results[0]?.statusWord, 0x6982);
  }
});

test("more than 32 overlapping calls run in their order", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const session = await client.openSession(READER);
  const calls = Array.from({ length: 100 }, () => session.transmit([INCREMENT]));
  const counted = (await Promise.all(calls)).map(({ results }) => results[0]?.data.readUInt32BE());
  assert.deepEqual(
    counted,
    Array.from(counted, (_, index) => index + 1),
  );
  await session.close();
});

test("close lets earlier calls finish", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const session = await client.openSession(READER);
  const calls = Array.from({ length: 40 }, () => session.transmit([INCREMENT]));
  await session.close();
  assert.equal((await Promise.all(calls)).length, 40);
});

test("answers yields outcomes and failures in order", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  await using session = await client.openSession(READER);
  async function* units() {
    for (let number = 0; number < 70; number++) {
      yield [number === 40 ? hex("00") : echo(Buffer.of(number))];
      await Promise.resolve();
    }
  }
  const outcomes: (number | string)[] = [];
  for await (const outcome of session.answers(units())) {
    outcomes.push(
      outcome.status === "fulfilled" ? (outcome.value.results[0]?.data[0] ?? -1) : (outcome.reason as Error).name,
    );
  }
  assert.deepEqual(
    outcomes,
    Array.from({ length: 70 }, (_, number) => (number === 40 ? "InvalidError" : number)),
  );
});

test("a failure fails messages behind it but not the next", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const session = await client.openSession(READER);
  const malformed = fails(FailedError, session.transmit([hex("00A4040006F0")]));
  const behind = fails(FailedError, session.transmit([INCREMENT]));
  const [first, second] = [await malformed, await behind];
  assert.deepEqual([first.reason, first.delivery, first.isPermanent], ["INVALID_REQUEST", "NOT_SENT", true]);
  assert.deepEqual([second.reason, second.delivery], ["PRECEDING_FAILED", "NOT_SENT"]);
  assert(session.isOpen);
  const { results } = await session.transmit([INCREMENT]);
  assert.equal(results[0]?.data.readUInt32BE(), 1);
  await session.close();
});

test("a stop keeps its answers and the messages behind run", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  await using session = await client.openSession(READER);
  const stopping = fails(StoppedError, session.transmit([GET_RESPONSE, INCREMENT]));
  const behind = session.transmit([INCREMENT]);
  assert.deepEqual((await stopping).partial.results[0]?.statusWord, 0x6d00);
  assert.equal((await behind).results[0]?.data.readUInt32BE(), 1);
});

test("a removal ends the session with the delivery UNKNOWN", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const session = await client.openSession(READER);
  const gone = await fails(FailedError, session.transmit([fault(1, 0, 0xffff)]));
  assert.equal(gone.delivery, "UNKNOWN");
  await until("the session has ended", () => !session.isOpen);
  const later = await fails(FailedError, session.transmit([SELECT]));
  assert.deepEqual([later.reason, later.delivery], ["CARD_REMOVED", "NOT_SENT"]);
  assert.equal((await fails(FailedError, session.close())).reason, "CARD_REMOVED");
});

test("holders see waiters and waiters their queue position", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test);
  const holder = await client.openSession(READER);
  const places: number[] = [];
  const onQueuePosition = (turnsAhead: number) => places.push(turnsAhead);
  const waiting = client.openSession(READER, { onQueuePosition });
  await until("a caller waits", () => holder.waiters > 0);
  await until("the queue position is known", () => places.length > 0);
  await holder.close();
  const next = await waiting;
  assert(next.queueDuration > 0);
  await next.close();
});

test("a wait timeout is NOT_SENT and a signal ends sessions", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const controller = new AbortController();
  const holder = await client.openSession(READER, { signal: controller.signal });
  const late = await fails(FailedError, client.openSession(READER, { waitTimeout: 0 }));
  assert.deepEqual([late.reason, late.delivery], ["QUEUE_TIMEOUT", "NOT_SENT"]);

  const waiting = fails(FailedError, client.openSession(READER, { signal: controller.signal }));
  await until("it waits", () => holder.waiters > 0);
  const working = fails(FailedError, holder.transmit([slow(300)]));
  controller.abort();
  assert.equal((await waiting).delivery, "NOT_SENT");
  assert.equal((await working).delivery, "UNKNOWN");
  await client.withSession(READER, (session) => session.transmit([SELECT]));
});

test("a session aborted during its opening holds no card", async (test) => {
  const broker = await Broker.start(test);
  const endpoint = parseEndpoint(broker.endpoint);
  const connection = new Connection([endpoint], new CallMetadata("", ""), 5_000);
  test.after(() => connection.close());
  const { stub, metadata, disconnect } = await connection.line();
  let disconnects = 0;
  const open = SessionOpen.create({ reader: READER });
  for (const steps of [0, 1, 2, 4, 8]) {
    const conversation = new Conversation(
      stub.openSession(metadata),
      open,
      () => {},
      () => (disconnects += 1),
    );
    for (let step = 0; step < steps; step++) {
      await Promise.resolve();
    }
    conversation.fail(own(status.CANCELLED, "NOT_SENT", "given up"));
  }
  // Below the idle timeout, which would end abandoned sessions.
  const client = await broker.client(test);
  await client.transmit(READER, [SELECT], { waitTimeout: 5_000 });
  assert.equal(disconnects, 0, "each stream was found");
  const last = new Conversation(stub.openSession(metadata), open, () => {}, disconnect);
  await last.opened;
  disconnect();
  await assert.rejects(last.ended);
  await client.transmit(READER, [SELECT], { waitTimeout: 5_000 });
});

async function statusWord(session: Session, apdu: Buffer): Promise<number | undefined> {
  return (await session.transmit([apdu])).results[0]?.statusWord;
}
