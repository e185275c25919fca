/** The endpoint of a client and the wait for its broker. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Client, InvalidError, NotRunningError, parseEndpoint } from "../src/index.js";
import { defaultSocket, findEndpoint } from "../src/endpoint.js";
import { Broker } from "./broker.js";
import { fails } from "./fails.js";

test("the option wins, then the environment, then the default", () => {
  const environment = { CARDBROKER_ENDPOINT: "unix:/run/a.sock", XDG_RUNTIME_DIR: "/run/user/7" };
  assert.equal(findEndpoint("unix:/run/b.sock", environment).path, "/run/b.sock");
  assert.equal(findEndpoint(undefined, environment).path, "/run/a.sock");
  environment.CARDBROKER_ENDPOINT = "";
  assert.equal(findEndpoint(undefined, environment).path, "/run/user/7/cardbroker/cardbroker.sock");
  assert.equal(defaultSocket({}, 0), "/run/cardbroker/cardbroker.sock");
  assert.equal(defaultSocket({ XDG_RUNTIME_DIR: "relative" }, 7), "/tmp/cardbroker-7/cardbroker.sock");
});

test("endpoints are parsed as in the other clients", () => {
  for (const text of ["http://127.0.0.1:080", "http://127.0.0.1:1//", "http://[::2]:1", "unix://x", "unix:///x/"]) {
    assert.throws(() => parseEndpoint(text), InvalidError, text);
  }
  assert.equal(parseEndpoint("http://[0:0:0:0:0:0:0:1]:1").target, "[0:0:0:0:0:0:0:1]:1");
  assert.equal(parseEndpoint("unix:////x").path, "//x");
});

test("without connect timeout a running broker is found", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test, { connectTimeout: 0 });
  assert.equal((await client.readers()).length, 2);
});

test("a missing broker is reported after the timeout", async () => {
  const start = performance.now();
  const nowhere = { endpoint: "unix:/nowhere/cardbroker.sock", connectTimeout: 300 };
  const error = await fails(NotRunningError, Client.connect(nowhere));
  assert.deepEqual([error.message, error.systemError], ["no broker at unix:/nowhere/cardbroker.sock", "ENOENT"]);
  assert(performance.now() - start >= 200 && performance.now() - start < 30_000);
  // The port of the discard service, without a listener.
  await fails(NotRunningError, Client.connect({ endpoint: "http://127.0.0.1:9", connectTimeout: 0 }));
});

test("a broker that starts during connect is found", async (test) => {
  const broker = await Broker.start(test);
  await broker.stop("SIGTERM");
  const connecting = Client.connect({ endpoint: broker.endpoint, group: "" });
  await sleep(250);
  await broker.start();
  const client = await connecting;
  test.after(() => client.close());
  assert.equal((await client.getBroker()).caller.processId, process.pid);
});

test("the call after a lost connection reconnects", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test);
  await client.readers();
  await broker.stop("SIGTERM");
  const hurried = await Client.connect({ endpoint: broker.endpoint, connectTimeout: 0 }).catch(
    (error: unknown) => error,
  );
  assert(hurried instanceof NotRunningError);
  assert.equal(hurried.delivery, "NOT_SENT");
  await broker.start();
  assert.equal((await client.readers()).length, 2);
});

test("each client has a connection of its own", async (test) => {
  const broker = await Broker.start(test);
  const clients = [await broker.client(test), await broker.client(test)];
  await Promise.all(clients.map((client) => client.readers()));
  const connected = () => broker.log.match(/: connected /g)?.length;
  assert.equal(connected(), 4, "two of the harness and two of this test");
});
