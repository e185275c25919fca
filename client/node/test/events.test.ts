/** Readers and cards as events. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { Reader as WireReader, ReaderState } from "../gen/cardbroker/v1/reader.js";
import { type Card, CardReader, InvalidError } from "../src/index.js";
import { Reader } from "../src/reader.js";
import { Broker, READER, SELECT, fault } from "./broker.js";

test("cards come and go as events, also across a restart of the broker", { timeout: 60_000 }, async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test);
  const events = client.events();
  test.after(() => events.close());
  // The card that is there already follows its reader at once.
  const { reader, card } = await new Promise<{ reader: CardReader; card: Card }>((resolve) => {
    events.once("reader", (reader) => reader.once("card", (card) => resolve({ reader, card })));
  });
  assert.equal(reader.name, READER);
  assert.deepEqual([reader.card?.insertionId, card.atr.subarray(0, 1)], [card.insertionId, Buffer.from([0x3b])]);
  assert.equal((await reader.transmit([SELECT])).results[0]?.statusWord, 0x9000);

  // The card leaves for 300 ms.
  const gone = once(reader, "card.off");
  await client.transmit(READER, [fault(2, 0, 300)]);
  assert.deepEqual(await gone, [card]);
  const [next] = (await once(reader, "card")) as [Card];
  assert.notEqual(next.insertionId, card.insertionId);
  assert.equal(events.readers.size, 2);

  const lost = once(events, "disconnected");
  await broker.stop("SIGKILL");
  await lost;
  assert.equal(reader.card, next, "the last known card");
  const off = once(reader, "card.off");
  await broker.start();
  assert.deepEqual(await off, [next], "another broker counts insertions anew");

  const end = once(events, "end");
  events.close();
  await end;
});

test("a card is reported once for each insertion", async () => {
  const told: string[] = [];
  const state = (state: ReaderState, insertionId: string) =>
    new Reader(WireReader.create({ name: "readers/a", state, insertionId }));
  const empty = state(ReaderState.EMPTY, "");
  const reader = new CardReader(() => Promise.reject(new Error("nothing is sent")), empty);
  reader.on("card", (card) => told.push(`+${card.insertionId}`));
  reader.on("card.off", (card) => told.push(`-${card.insertionId}`));
  reader.on("end", () => told.push("end"));
  await assert.rejects(reader.transmit([SELECT]), InvalidError);
  const { READY: ready, SETTLING: settling } = ReaderState;
  reader.update(state(settling, "1"));
  reader.update(state(ready, "1"));
  reader.update(state(settling, "1"));
  reader.update(state(ready, "1"));
  reader.update(state(ready, "2"));
  reader.update(empty);
  reader.update(state(ready, "3"));
  reader.end();
  assert.deepEqual(told, ["+1", "-1", "+2", "-2", "+3", "-3", "end"]);
});
