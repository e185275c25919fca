/** The endpoint of a client and the wait for its broker. */

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Client, InvalidError, NotRunningError, parseEndpoint } from "../src/index.js";
import { findTargets, parseEndpointOn } from "../src/endpoint.js";
import { type Place, judge, places, walk, wayTo } from "../src/places.js";
import { Broker } from "./broker.js";
import { fails } from "./fails.js";

const OWN = "/run/user/7/cardbroker/cardbroker.sock";
const SYSTEM = "/run/cardbroker/cardbroker.sock";

test("the option wins, then the environment, then the default places", () => {
  const environment = { CARDBROKER_ENDPOINT: "unix:/run/a.sock", XDG_RUNTIME_DIR: "/run/user/7" };
  const paths = (given: string | undefined, uid: number) =>
    findTargets(given, environment, uid).map(({ path }) => path);
  assert.deepEqual(paths("unix:/run/b.sock", 7), ["/run/b.sock"]);
  assert.deepEqual(paths(undefined, 7), ["/run/a.sock"]);
  environment.CARDBROKER_ENDPOINT = "";
  assert.deepEqual(paths(undefined, 7), [OWN, SYSTEM]);
  assert.deepEqual(paths(undefined, 0), [SYSTEM]);
  environment.XDG_RUNTIME_DIR = "relative";
  assert.deepEqual(paths(undefined, 7), [OWN, SYSTEM]);
});

test("a way is trusted only if no other user decides about it", () => {
  const [own, system] = places({}, 7) as [Place, Place];
  const trusted = (place: Place, ...texts: string[]) => {
    const parts = texts.map((text, index) => {
      const [kind, owner, mode] = text.split(" ");
      return {
        path: wayTo(place.path)[index] ?? "",
        kind: kind as "folder",
        owner: Number(owner),
        mode: parseInt(mode ?? "", 8),
      };
    });
    return judge(place, 7, parts) === undefined;
  };
  const root = "folder 0 755";
  assert(trusted(own, root, root, root, "folder 7 700", "folder 7 700", "other 7 600"));
  assert(!trusted(own, root, root, root, "folder 8 700"));
  assert(!trusted(own, root, root, "folder 0 777", "folder 7 700"));
  assert(trusted(own, root, root, "folder 0 1777", "folder 7 700"));
  assert(!trusted(own, root, root, root, "folder 7 700", "link 7 777"));
  assert(trusted(system, root, root, "folder 8 755", "other 8 666"));
  assert(!trusted(system, root, "folder 0 1777", "folder 8 755", "other 8 666"));
});

test("distrust counts before a missing part", () => {
  const folder = mkdtempSync(join(tmpdir(), "cardbroker-"));
  const place = { path: join(folder, "cardbroker/cardbroker.sock"), isOwn: false };
  const uid = process.geteuid?.() ?? 0;
  assert.equal(walk(place, uid)?.kind, "missing");
  chmodSync(folder, 0o777);
  assert.equal(walk(place, uid)?.kind, "untrusted");
  rmdirSync(folder);
});

test("a path too long for a socket is reported at once", async () => {
  const connecting = Client.connect({ endpoint: `unix:/${"x".repeat(107)}`, connectTimeout: 60_000 });
  const error = await fails(NotRunningError, connecting);
  assert.equal(error.finding.kind, "too_long");
  assert.match(error.message, /the path is longer than a socket's 107 bytes/);
});

test("endpoints are parsed as in the other clients", () => {
  for (const text of ["http://127.0.0.1:080", "http://127.0.0.1:1//", "http://[::2]:1", "unix://x", "unix:///x/"]) {
    assert.throws(() => parseEndpoint(text), InvalidError, text);
  }
  assert.equal(parseEndpoint("http://[0:0:0:0:0:0:0:1]:1").target, "[0:0:0:0:0:0:0:1]:1");
  assert.equal(parseEndpoint("unix:////x").path, "//x");
  assert.equal(parseEndpoint("https://localhost:7").target, "127.0.0.1:7");
  assert.deepEqual(parseEndpoint("https://[::1]:7").address, { host: "::1", port: 7, isPlain: false });
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
  assert.deepEqual(
    [error.message, error.systemError],
    ["no broker at unix:/nowhere/cardbroker.sock (no such file)", "ENOENT"],
  );
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

test("a pipe is an endpoint on Windows, in either form", () => {
  const path = "\\\\.\\pipe\\cardbroker\\S-1-5-21-7";
  const text = "npipe:////./pipe/cardbroker/S-1-5-21-7";
  for (const form of [path, text]) {
    assert.deepEqual(parseEndpointOn("win32", form), { text, target: `unix:${path}`, path });
    assert.throws(() => parseEndpointOn("linux", form), InvalidError, form);
  }
  const long = `npipe:////./pipe/${"x".repeat(248)}`;
  for (const form of [
    "npipe:////./pipe/",
    "\\\\.\\pipe\\",
    "\\\\server\\pipe\\x",
    "npipe:////server/pipe/x",
    "C:\\x",
    long,
  ]) {
    assert.throws(() => parseEndpointOn("win32", form), InvalidError, form);
  }
  assert.equal(parseEndpointOn("win32", long.slice(0, -1)).path?.length, 256);
});

test("without numbers of users the default is the endpoint file", () => {
  const { geteuid } = process;
  test.after(() => (process.geteuid = geteuid));
  delete process.geteuid;
  const [target, ...others] = findTargets(undefined, { XDG_RUNTIME_DIR: "/run/user/7" });
  assert.equal(target?.text, "tcp:auto");
  assert(target.place?.path.endsWith("endpoint.json"));
  assert.deepEqual(others, []);
});
