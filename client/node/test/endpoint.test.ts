/** Where the broker is sought, and what a connection needs. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, EndpointError, NotRunningError } from "../src/index.js";
import { defaultSocket, findEndpoint, parseEndpoint } from "../src/endpoint.js";
import { Broker } from "./broker.js";
import { fails } from "./fails.js";

test("every way to write an endpoint is read", () => {
  for (const [text, shown] of [
    ["unix:/run/a b.sock", "unix:/run/a b.sock"],
    ["unix:///run/a.sock", "unix:/run/a.sock"],
    ["http://127.0.0.1:7000", "http://127.0.0.1:7000"],
    ["http://127.0.0.1:7000/", "http://127.0.0.1:7000"],
    ["http://[::1]:7000", "http://[::1]:7000"],
    ["http://localhost:7000", "http://localhost:7000"],
  ] as const) {
    assert.equal(parseEndpoint(text).text, shown);
  }
});

test("what is no endpoint on this machine is refused with the way to write one", () => {
  for (const text of [
    "",
    "unix:",
    "unix:relative.sock",
    "unix://host/a.sock",
    "unix:/run/",
    "/run/a.sock",
    "http://127.0.0.1",
    "https://127.0.0.1:7000",
    "http://192.168.0.1:7000",
    "http://127.example.org:7000",
    "http://user@127.0.0.1:7000",
    "http://127.0.0.1:7000/path",
    "http://127.0.0.1:70000",
    "127.0.0.1:7000",
  ]) {
    assert.throws(
      () => parseEndpoint(text),
      (error) => error instanceof EndpointError && error.isPermanent && error.message.includes("use unix:/path"),
      text,
    );
  }
});

test("what is given wins, then the environment, then the default socket", () => {
  const environment = { CARDBROKER_ENDPOINT: "unix:/run/a.sock", XDG_RUNTIME_DIR: "/run/user/7" };
  assert.equal(findEndpoint("unix:/run/b.sock", environment).path, "/run/b.sock");
  assert.equal(findEndpoint(undefined, environment).path, "/run/a.sock");
  environment.CARDBROKER_ENDPOINT = "";
  assert.equal(findEndpoint(undefined, environment).path, "/run/user/7/cardbroker/cardbroker.sock");
  assert.equal(defaultSocket({}, 0), "/run/cardbroker/cardbroker.sock");
  assert.equal(defaultSocket({ XDG_RUNTIME_DIR: "relative" }, 7), "/tmp/cardbroker-7/cardbroker.sock");
});

test("a broker that is not there is named, at once", async () => {
  const start = Date.now();
  const error = await fails(NotRunningError, Client.connect({ endpoint: "unix:/nowhere/cardbroker.sock" }));
  assert.deepEqual([error.message, error.code], ["no broker at unix:/nowhere/cardbroker.sock", "ENOENT"]);
  assert(Date.now() - start < 2_000);
  // The port of the discard service, where nobody listens.
  await fails(NotRunningError, Client.connect({ endpoint: "http://127.0.0.1:9" }));
});

test("a connection that was lost is made anew by the next call", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test);
  await client.readers();
  await broker.stop("SIGTERM");
  const gone = await fails(NotRunningError, client.readers());
  assert.equal(gone.delivery, "not_sent");
  await broker.start();
  assert.equal((await client.readers()).length, 2);
});

test("each client has a connection of its own", async (test) => {
  const broker = await Broker.start(test);
  const clients = [await broker.client(test), await broker.client(test)];
  await Promise.all(clients.map((client) => client.readers()));
  const connected = () => broker.log.match(/: connected /g)?.length;
  assert.equal(connected(), 4, "two of the harness and two of ours");
});
