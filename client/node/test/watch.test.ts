/** Watches: their events across restarts of the broker, and their ends. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Reader as WireReader } from "../gen/cardbroker/v1/reader.js";
import { NotRunningError, type ReaderState, type Watch, type WatchEvent } from "../src/index.js";
import { Reader } from "../src/reader.js";
import { type ReaderEvent, applyChange, applySnapshot } from "../src/readers.js";
import { Broker, READER, fault } from "./broker.js";

test("a watch reports readers and their changes", async (test) => {
  const client = await (await Broker.start(test)).client(test);
  const watch = client.watch();
  assert.equal((await next(watch)).type, "connected");
  assert(watch.isConnected);
  assert.equal(watch.readers.size, 2);
  await reaches(watch, READER, "READY");
  const before = watch.readers.get(READER)?.insertionId;
  await client.transmit(READER, [fault(2, 0, 300)]);
  await reaches(watch, READER, "EMPTY");
  await reaches(watch, READER, "READY");
  assert.notEqual(watch.readers.get(READER)?.insertionId, before);
  watch.close();
  assert.equal((await watch.next()).done, true);
});

test("a watch survives a restart of the broker", async (test) => {
  const broker = await Broker.start(test);
  const watch = (await broker.client(test)).watch();
  await reaches(watch, "readers/simulated-reader-01", "READY");
  const before = watch.readers.get(READER)?.insertionId;

  await broker.stop("SIGKILL");
  let event = await next(watch);
  while (event.type !== "disconnected") {
    event = await next(watch);
  }
  assert.equal(event.error.delivery, "NOT_SENT");
  assert(!watch.isConnected);
  assert.equal(watch.readers.size, 2, "the last known readers");

  await broker.start();
  assert.equal((await next(watch)).type, "connected");
  await reaches(watch, READER, "READY");
  assert.notEqual(watch.readers.get(READER)?.insertionId, before);
  watch.close();
});

test("a signal or leaving the loop ends a watch", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test);
  const controller = new AbortController();
  const events: string[] = [];
  for await (const event of client.watch({ signal: controller.signal })) {
    events.push(event.type);
    if (events.length === 3) {
      setTimeout(() => {
        controller.abort();
      }, 50);
    }
  }
  assert.deepEqual(events, ["connected", "updated", "updated"]);

  await broker.stop("SIGTERM");
  const watch = client.watch();
  for await (const event of watch) {
    assert(event.type === "disconnected" && event.error instanceof NotRunningError);
    break;
  }
  assert.equal((await watch.next()).done, true);
});

test("a second snapshot reports only differences", () => {
  const known = new Map<string, Reader>();
  const first = [reader("a", "1"), reader("b", "1"), reader("c", "1")];
  assert.deepEqual(texts(applySnapshot(known, { readers: first })), ["+a 1", "+b 1", "+c 1"]);
  const second = [reader("a", "1"), reader("c", "2"), reader("d", "1")];
  assert.deepEqual(texts(applySnapshot(known, { readers: second })), ["-b", "+c 2", "+d 1"]);
  assert.deepEqual([...known.keys()], ["a", "c", "d"]);
});

test("a change touches only the readers it names", () => {
  const known = new Map([reader("a", "1"), reader("b", "1")].map((reader) => [reader.name, new Reader(reader)]));
  const change = { updated: [reader("b", "2")], removedNames: ["a", "x"] };
  assert.deepEqual(texts(applyChange(known, change)), ["-a", "+b 2"]);
});

function reader(name: string, insertionId: string): WireReader {
  return WireReader.create({ name, insertionId });
}

function texts(events: ReaderEvent[]): string[] {
  return events.map(({ type, reader }) =>
    type === "removed" ? `-${reader.name}` : `+${reader.name} ${reader.insertionId}`,
  );
}

async function next(watch: Watch): Promise<WatchEvent> {
  const { value } = await watch.next();
  assert(value);
  return value;
}

/** Iterates until the reader is in this state. */
async function reaches(watch: Watch, name: string, state: ReaderState): Promise<void> {
  for (;;) {
    const event = await next(watch);
    if (event.type === "updated" && event.reader.name === name && event.reader.state === state) {
      return;
    }
  }
}
