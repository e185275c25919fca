/** Lost and closed connections: repeatable units are repeated and executed once. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { type Socket, connect, createServer } from "node:net";
import { type TestContext, test } from "node:test";

import { type Client, FailedError, InvalidError } from "../src/index.js";
import { pauses } from "../src/repeat.js";
import { toDuration } from "../src/input.js";
import { callLimit } from "../src/times.js";
import { Broker, INCREMENT, READER, SELECT, fault, slow, until } from "./broker.js";
import { fails } from "./fails.js";

test("closing a client ends its connection and all later calls", async (test) => {
  const { client, line } = await breakable(test);
  await client.readers();
  client.close();
  await until("the connection has ended", () => line.ends === 0);
  const closed = await fails(FailedError, client.transmit(READER, [SELECT]));
  assert.deepEqual([closed.message, closed.delivery], ["the client is closed", "NOT_SENT"]);
});

test("pauses double, half of them random", () => {
  const longest = [100, 200, 400];
  for (const pause of pauses()) {
    const most = longest.shift();
    assert(most !== undefined && pause >= most / 2 && pause <= most);
  }
});

test("a repeatable unit without a card is not repeated", async (test) => {
  const { client, line, runs } = await breakable(test);
  await client.transmit(READER, [fault(2, 0, 300)]);
  const options = { repeatable: true, card: "AWAITED" } as const;
  const unit = fails(FailedError, client.transmit(READER, [INCREMENT, slow(500)], options));
  await runs();
  line.cut();
  assert.equal((await unit).delivery, "UNKNOWN");
});

test("the default limit is the wait plus the card time", () => {
  assert.equal(callLimit(30_000, 10_000), 10_000);
  assert.equal(callLimit(), 180_000);
  for (const wait of [0, 600_000, 24 * 3600_000]) {
    assert(callLimit(wait) >= wait + 150_000);
  }
});

test("times outside the range of durations are cut or refused", () => {
  assert.deepEqual(toDuration(1.234, "a time"), { seconds: 0, nanos: 1_234_000 });
  assert.deepEqual(toDuration(999.9999999999, "a time"), { seconds: 1, nanos: 0 });
  assert.equal(toDuration(Infinity, "a time").seconds, 48 * 3600);
  for (const time of [-1, NaN]) {
    assert.throws(() => toDuration(time, "a time"), InvalidError);
  }
});

/** A proxied connection between a client and its broker. */
interface Line {
  cut(): void;
  readonly ends: number;
}

interface Breakable {
  client: Client;
  line: Line;
  /** Waits until the card is held. */
  runs: () => Promise<void>;
}

/** A client whose connection to its broker can be cut. */
async function breakable(test: TestContext): Promise<Breakable> {
  const broker = await Broker.start(test);
  const sockets = new Set<Socket>();
  const path = `${broker.socket}.line`;
  const server = createServer((near) => {
    const far = connect(broker.socket);
    near.pipe(far).pipe(near);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        // Closes both directions, as without a proxy. A pipe would close only one of them, and none after a reset.
        other.destroySoon();
      });
    }
  });
  const cut = () => {
    for (const socket of sockets) {
      socket.destroy();
    }
  };
  server.listen(path);
  await once(server, "listening");
  test.after(() => {
    cut();
    server.close();
    rmSync(path, { force: true });
  });
  const other = await broker.client(test);
  const taken = () =>
    other.transmit(READER, [SELECT], { waitTimeout: 0 }).then(
      () => false,
      (error: FailedError) => error.reason === "QUEUE_TIMEOUT",
    );
  const client = await broker.client(test, { endpoint: `unix:${path}` });
  const line = {
    cut,
    get ends() {
      return sockets.size;
    },
  };
  return { client, line, runs: () => until("the card is held", taken) };
}
