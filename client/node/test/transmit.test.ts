/** Units of commands and their failures. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { FailedError, InvalidError, StoppedError } from "../src/index.js";
import {
  Broker,
  GET_RESPONSE,
  INCREMENT,
  READER,
  SELECT,
  SELECT_AND_FETCH,
  fault,
  hex,
  raw,
  slow,
  until,
} from "./broker.js";
import { fails } from "./fails.js";

test("readers are listed with their cards", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const readers = await client.readers();
  assert.deepEqual(
    readers.map(({ name, state }) => [name, state]),
    [
      [READER, "READY"],
      ["readers/simulated-reader-01", "READY"],
    ],
  );
  assert(readers[0]?.insertionId);
});

test("answers come in order and complete after 61xx", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const { results, insertionId, stateTag } = await client.transmit(READER, [SELECT, hex("00B2010410")]);
  assert.deepEqual(
    results.map(({ data, statusWord }) => [data.length, statusWord]),
    [
      [19, 0x9000],
      [16, 0x9000],
    ],
  );
  assert.equal(results[1]?.data.toString(), "Simulated record");
  assert(insertionId && stateTag);
});

test("raw commands are sent unchanged", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const { results } = await client.transmit(READER, [raw(SELECT_AND_FETCH), raw(GET_RESPONSE)]);
  assert.deepEqual(
    results.map(({ statusWord }) => statusWord),
    [0x6113, 0x9000],
  );
});

test("a stopped unit keeps its answers", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const unknown = hex("00A4040006F04341524402");
  const stopped = await fails(StoppedError, client.transmit(READER, [INCREMENT, unknown, INCREMENT]));
  assert.deepEqual([stopped.reason, stopped.delivery, stopped.index], ["STATUS_WORD", "NOT_SENT", 2]);
  assert.deepEqual(
    stopped.partial.results.map(({ statusWord }) => statusWord),
    [0x9000, 0x6a82],
  );
  const goesOn = { apdu: unknown, continueOn: [0x9000, { value: 0x6a00, mask: 0xff00 }] };
  assert.equal((await client.transmit(READER, [goesOn, INCREMENT])).results.length, 2);
});

test("units up to 1 MiB are sent, larger ones refused", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const data = Buffer.alloc(60_000, 0x5a);
  const { results } = await client.transmit(READER, Array<Buffer>(17).fill(echoLong(data)));
  assert(results.every((result) => result.data.equals(data)));
  const tooLong = await fails(InvalidError, client.transmit(READER, Array<Buffer>(18).fill(echoLong(data))));
  assert.equal(tooLong.delivery, "NOT_SENT");
});

test("conditions on insertion and state are honoured", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const { insertionId, stateTag } = await client.transmit(READER, [SELECT]);
  await client.transmit(READER, [SELECT], { ifInsertionId: insertionId, ifStateTag: stateTag, resetBefore: "WARM" });
  const changed = await fails(FailedError, client.transmit(READER, [SELECT], { ifStateTag: stateTag }));
  assert.deepEqual([changed.reason, changed.delivery], ["STATE_CHANGED", "NOT_SENT"]);
  const other = await fails(FailedError, client.transmit(READER, [SELECT], { ifInsertionId: "another" }));
  assert.equal(other.reason, "INSERTION_CHANGED");
});

test("failures have a reason and a delivery", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  for (const apdus of [[], [hex("00A404")], Array<Buffer>(65).fill(SELECT)]) {
    const malformed = await fails(InvalidError, client.transmit(READER, apdus));
    assert.deepEqual([malformed.delivery, malformed.isPermanent], ["NOT_SENT", true]);
  }
  const structure = await fails(FailedError, client.transmit(READER, [hex("00A4040006F0")]));
  assert.deepEqual([structure.reason, structure.delivery], ["INVALID_REQUEST", "NOT_SENT"]);
  assert.equal(structure.fieldViolations[0]?.field, "commands[0].apdu.bytes");
  const nowhere = await fails(FailedError, client.transmit("readers/none", [SELECT]));
  assert.deepEqual([nowhere.reason, nowhere.delivery], ["READER_NOT_FOUND", "NOT_SENT"]);

  const gone = await fails(FailedError, client.transmit(READER, [fault(1, 0, 0xffff)]));
  assert.deepEqual([gone.reason, gone.delivery], ["CARD_REMOVED", "UNKNOWN"]);
  const empty = await fails(FailedError, client.transmit(READER, [SELECT]));
  assert.deepEqual([empty.reason, empty.delivery, empty.name], ["NO_CARD", "NOT_SENT", "FailedError"]);
});

test("a withheld PIN has the tries that are left", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const wrong = hex("00200080083939393939393939");
  const { results } = await client.transmit(READER, [wrong]);
  assert.equal(results[0]?.statusWord, 0x63c2);
  const { reason, triesLeft } = await fails(FailedError, client.transmit(READER, [wrong]));
  assert.deepEqual([reason, triesLeft], ["PIN_KNOWN_WRONG", 2]);
  const stopped = await fails(StoppedError, client.transmit(READER, [SELECT, hex("00200080"), wrong]));
  assert.deepEqual([stopped.reason, stopped.triesLeft], ["STATUS_WORD", undefined]);
});

test("a unit can wait for a card", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const before = await client.transmit(READER, [fault(2, 0, 1000)]);
  await until("the card is out", async () => (await client.reader(READER)).state === "EMPTY");
  const { results, insertionId } = await client.transmit(READER, [SELECT], { card: "AWAITED" });
  assert.equal(results[0]?.statusWord, 0x9000);
  assert.notEqual(insertionId, before.insertionId);
});

test("a wait that times out is NOT_SENT", async (test) => {
  const broker = await Broker.start(test);
  const holder = await (await broker.client(test)).openSession(READER);
  const client = await broker.client(test);
  for (const options of [{ waitTimeout: 0 }, { timeout: 300 }]) {
    const late = await fails(FailedError, client.transmit(READER, [SELECT], options));
    assert.deepEqual([late.reason, late.delivery], ["QUEUE_TIMEOUT", "NOT_SENT"]);
  }
  await holder.close();
});

test("a signal ends a call with the delivery UNKNOWN", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test);
  const controller = new AbortController();
  const working = fails(FailedError, client.transmit(READER, [slow(500)], { signal: controller.signal }));
  // The unit has left this program by then.
  await setImmediate();
  controller.abort(new Error("enough"));
  const ended = await working;
  assert.deepEqual([ended.reason, ended.delivery], [undefined, "UNKNOWN"]);
  assert.equal((ended.cause as Error).message, "enough");
  const early = await fails(FailedError, client.transmit(READER, [SELECT], { signal: controller.signal }));
  assert.equal(early.delivery, "NOT_SENT");
});

test("a request id gets the first outcome again", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const options = { requestId: Buffer.from("0123456789abcdef") };
  const first = await client.transmit(READER, [INCREMENT], options);
  const again = await client.transmit(READER, [INCREMENT], options);
  assert.deepEqual([first.replayed, again.replayed], [false, true]);
  assert.deepEqual(again.results[0]?.data, first.results[0]?.data);
});

/** An extended APDU whose data the card echoes. */
function echoLong(data: Buffer): Buffer {
  const length = Buffer.of(0, data.length >> 8, data.length & 0xff);
  return Buffer.concat([hex("80140000"), length, data, hex("0000")]);
}
