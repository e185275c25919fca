/** Units of commands, and how they fail. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { CallError, ReaderState, StoppedError } from "../src/index.js";
import { Broker, GET_RESPONSE, INCREMENT, READER, SELECT, SELECT_AND_FETCH, fault, hex, slow } from "./broker.js";
import { fails } from "./fails.js";

test("readers are listed with their cards", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const readers = await client.readers();
  assert.deepEqual(
    readers.map(({ name, state }) => [name, state]),
    [
      [READER, ReaderState.READY],
      ["readers/simulated-reader-01", ReaderState.READY],
    ],
  );
  assert(readers[0]?.insertionId);
});

test("a unit's answers come in order, and what the card offers is fetched", async (test) => {
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

test("a raw unit is left as it is", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const { results } = await client.transmit(READER, [SELECT_AND_FETCH, GET_RESPONSE], { raw: true });
  assert.deepEqual(
    results.map(({ statusWord }) => statusWord),
    [0x6113, 0x9000],
  );
});

test("a unit that stops keeps the answers that came", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const unknown = hex("00A4040006F04341524402");
  const stopped = await fails(StoppedError, client.transmit(READER, [INCREMENT, unknown, INCREMENT]));
  assert.deepEqual([stopped.reason, stopped.delivery, stopped.index], ["STATUS_WORD", "not_sent", 2]);
  assert.deepEqual(
    stopped.partial.results.map(({ statusWord }) => statusWord),
    [0x9000, 0x6a82],
  );
  const goesOn = { apdu: unknown, continueOn: [0x9000, { value: 0x6a00, mask: 0xff00 }] };
  assert.equal((await client.transmit(READER, [goesOn, INCREMENT])).results.length, 2);
});

test("a unit may carry almost 1 MiB each way, and more is refused before it is sent", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const data = Buffer.alloc(60_000, 0x5a);
  const { results } = await client.transmit(READER, Array<Buffer>(17).fill(echoLong(data)));
  assert(results.every((result) => result.data.equals(data)));
  const tooLong = await fails(CallError, client.transmit(READER, Array<Buffer>(18).fill(echoLong(data))));
  assert.deepEqual([tooLong.reason, tooLong.delivery], ["INVALID_REQUEST", "not_sent"]);
});

test("conditions on insertion and state are honoured", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const { insertionId, stateTag } = await client.transmit(READER, [SELECT]);
  await client.transmit(READER, [SELECT], { ifInsertionId: insertionId, ifStateTag: stateTag, startReset: true });
  const changed = await fails(CallError, client.transmit(READER, [SELECT], { ifStateTag: stateTag }));
  assert.deepEqual([changed.reason, changed.delivery], ["STATE_CHANGED", "not_sent"]);
  const other = await fails(CallError, client.transmit(READER, [SELECT], { ifInsertionId: "another" }));
  assert.equal(other.reason, "INSERTION_CHANGED");
});

test("failures say why, and whether the card may have seen the command", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  for (const apdus of [[], [hex("00A404")], Array<Buffer>(65).fill(SELECT)]) {
    const malformed = await fails(CallError, client.transmit(READER, apdus));
    assert.deepEqual(
      [malformed.reason, malformed.delivery, malformed.isPermanent],
      ["INVALID_REQUEST", "not_sent", true],
    );
  }
  const structure = await fails(CallError, client.transmit(READER, [hex("00A4040006F0")]));
  assert.deepEqual([structure.reason, structure.delivery], ["INVALID_REQUEST", "not_sent"]);
  const nowhere = await fails(CallError, client.transmit("readers/none", [SELECT]));
  assert.deepEqual([nowhere.reason, nowhere.delivery], ["READER_NOT_FOUND", "not_sent"]);

  const gone = await fails(CallError, client.transmit(READER, [fault(1, 0, 0xffff)]));
  assert.deepEqual([gone.reason, gone.delivery], ["CARD_REMOVED", "unknown"]);
  const empty = await fails(CallError, client.transmit(READER, [SELECT]));
  assert.deepEqual([empty.reason, empty.delivery, empty.name], ["NO_CARD", "not_sent", "CallError"]);
});

test("a unit can wait for a card", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const before = await client.transmit(READER, [fault(2, 0, 300)]);
  const { results, insertionId } = await client.transmit(READER, [SELECT], { waitForCard: true });
  assert.equal(results[0]?.statusWord, 0x9000);
  assert.notEqual(insertionId, before.insertionId);
});

test("a wait that ends in vain sent nothing, also when the call's own time ends it", async (test) => {
  const broker = await Broker.start(test);
  const holder = await (await broker.client(test)).openSession(READER);
  const client = await broker.client(test);
  for (const options of [{ waitTimeout: 0 }, { timeout: 300 }]) {
    const late = await fails(CallError, client.transmit(READER, [SELECT], options));
    assert.deepEqual([late.reason, late.delivery], ["QUEUE_TIMEOUT", "not_sent"]);
  }
  await holder.close();
});

test("a signal ends a call; without the broker's word the fate is unknown", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test);
  const controller = new AbortController();
  const working = fails(CallError, client.transmit(READER, [slow(500)], { signal: controller.signal }));
  // By then it has left this program.
  await setImmediate();
  controller.abort(new Error("enough"));
  const ended = await working;
  assert.deepEqual([ended.reason, ended.delivery], [undefined, "unknown"]);
  assert.equal((ended.cause as Error).message, "enough");
  const early = await fails(CallError, client.transmit(READER, [SELECT], { signal: controller.signal }));
  assert.equal(early.delivery, "not_sent");
});

test("a request id gets the first outcome again", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const options = { requestId: Buffer.from("0123456789abcdef") };
  const first = await client.transmit(READER, [INCREMENT], options);
  const again = await client.transmit(READER, [INCREMENT], options);
  assert.deepEqual([first.replayed, again.replayed], [false, true]);
  assert.deepEqual(again.results[0]?.data, first.results[0]?.data);
});

/** A command that echoes its data, extended. */
function echoLong(data: Buffer): Buffer {
  const length = Buffer.of(0, data.length >> 8, data.length & 0xff);
  return Buffer.concat([hex("80140000"), length, data, hex("0000")]);
}
