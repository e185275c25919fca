/** The endpoint `tcp:auto`: the port, token and certificate in the endpoint file of this user's broker. */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";

import { Server, ServerCredentials } from "@grpc/grpc-js";

import { CardBrokerServiceService } from "../gen/cardbroker/v1/service.js";
import { findTargets } from "../src/endpoint.js";
import { hasEnded, parseEndpointFile, readEndpointFile } from "../src/endpoint_file.js";
import { Client, NotRunningError } from "../src/index.js";
import { type Place, endpointFilePlace } from "../src/places.js";
import { FileProblem } from "../src/private_file.js";
import { parseTokenFile } from "../src/token_file.js";
import { fails } from "./fails.js";

const PEM = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

function table(name: string): Record<string, unknown>[] {
  const text = readFileSync(`${process.env["CARDBROKER_VECTORS"]}/${name}.json`, "utf8");
  return JSON.parse(text) as Record<string, unknown>[];
}

/** The content of a certificate in PEM, in base64. */
function content(pem: string): string {
  return pem.replace(/-----[A-Z ]+-----|\s/g, "");
}

test("endpoint files are read as in the other clients", () => {
  for (const { name, text, read, problem } of table("endpoint_files")) {
    if (!read) {
      const refusal = (error: unknown) => error instanceof FileProblem && error.message === problem;
      assert.throws(() => parseEndpointFile(text as string), refusal, name as string);
      continue;
    }
    const { endpoint, token, certificate, pid, startTime } = parseEndpointFile(text as string);
    const found = { endpoint: endpoint.text, token, certificate: content(certificate), pid };
    assert.deepEqual({ ...found, ...(startTime !== undefined && { start_time: startTime }) }, read, name as string);
  }
});

test("token files are read as in the other clients", () => {
  for (const { name, text, token, certificate } of table("token_files")) {
    if (token === undefined) {
      assert.throws(() => parseTokenFile(text as string), FileProblem, name as string);
      continue;
    }
    const found = parseTokenFile(text as string);
    assert.deepEqual([found.token, content(found.certificate)], [token, certificate ?? ""], name as string);
  }
});

test("the file lies beside the default socket", () => {
  const path = (environment: NodeJS.ProcessEnv, uid: number, platform: NodeJS.Platform = "linux") =>
    endpointFilePlace(environment, uid, platform).path;
  assert.equal(path({}, 7), "/run/user/7/cardbroker/endpoint.json");
  assert.equal(path({ XDG_RUNTIME_DIR: "/a" }, 7), "/a/cardbroker/endpoint.json");
  assert.equal(path({ XDG_RUNTIME_DIR: "/a" }, 0), "/run/cardbroker/endpoint.json");
  assert.equal(path({ LOCALAPPDATA: "C:\\me" }, 0, "win32"), "C:\\me\\cardbroker\\endpoint.json");
  assert(findTargets(undefined, {}, 7).every(({ text }) => text.startsWith("unix:")));
});

test("without a folder of local data no file is read", async () => {
  for (const LOCALAPPDATA of [undefined, "", "me", ".", "C:me", "\\me"]) {
    const place = endpointFilePlace({ LOCALAPPDATA }, 7, "win32");
    const found = await readEndpointFile(place, 7);
    assert("kind" in found && found.kind === "missing" && found.text.startsWith("no such place"), LOCALAPPDATA);
  }
});

test("a process with the same number is not the broker", () => {
  const stat = readFileSync("/proc/self/stat", "utf8");
  const start = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  assert.deepEqual(
    [hasEnded(process.pid, start), hasEnded(process.pid, undefined), hasEnded(process.pid, start + 1)],
    [false, false, true],
  );
  assert(hasEnded(spawnSync("true").pid, undefined));
  assert(hasEnded(2 ** 53, undefined));
  assert(!hasEnded(process.pid, start + 1, "win32"), "the files of /proc are those of Linux");
});

/** A folder of this test's user for the endpoint file. Root plays another user, who has a runtime folder. */
function scene(test: TestContext): { place: Place; uid: number; write: (values?: object, mode?: number) => void } {
  const uid = process.geteuid?.() || 54_321;
  const folder = mkdtempSync(join(tmpdir(), "cardbroker-node-"));
  test.after(() => rmSync(folder, { recursive: true }));
  const own = (path: string) => process.getuid?.() === 0 && chownSync(path, uid, uid);
  const { geteuid } = process;
  process.geteuid = () => uid;
  test.after(() => (process.geteuid = geteuid));
  const runtime = process.env.XDG_RUNTIME_DIR;
  process.env.XDG_RUNTIME_DIR = folder;
  test.after(() =>
    runtime === undefined ? delete process.env.XDG_RUNTIME_DIR : (process.env.XDG_RUNTIME_DIR = runtime),
  );
  const place = endpointFilePlace(process.env, uid);
  mkdirSync(dirname(place.path), { mode: 0o700 });
  own(folder);
  own(dirname(place.path));
  const write = (values: object = {}, mode = 0o600) => {
    const written = { endpoint: "https://127.0.0.1:9", token: "t", certificate: PEM, pid: process.pid, ...values };
    const file = `${place.path}.new`;
    writeFileSync(file, JSON.stringify(written), { mode });
    chmodSync(file, mode);
    own(file);
    renameSync(file, place.path);
  };
  return { place, uid, write };
}

test("a file that another user could have made is not trusted", async (test) => {
  const { place, uid, write } = scene(test);
  const finding = async () => {
    const found = await readEndpointFile(place, uid);
    assert("kind" in found);
    return [found.kind, found.text.replace(place.path, "FILE"), found.waitingHelps];
  };
  assert.deepEqual(await finding(), ["missing", "no such file: FILE", true]);
  write({}, 0o640);
  assert.deepEqual(await finding(), [
    "untrusted",
    "not trusted: FILE is open to other users (its mode is 0640)",
    false,
  ]);
  chmodSync(place.path, 0o600);
  renameSync(place.path, `${place.path}.2`);
  symlinkSync(`${place.path}.2`, place.path);
  assert.deepEqual(await finding(), ["untrusted", "not trusted: FILE is a symbolic link", false]);
  unlinkSync(place.path);
  mkdirSync(place.path);
  assert.deepEqual(await finding(), ["untrusted", "not trusted: FILE is not a regular file", false]);
  rmSync(place.path, { recursive: true });
  write({ token: "" });
  assert.deepEqual(await finding(), ["failed", 'FILE has no valid "token"', false]);
  write({ more: "x".repeat(64 << 10) });
  assert.deepEqual(await finding(), ["failed", "FILE is longer than 64 KiB", false]);
  writeFileSync(place.path, Buffer.from('{"more": "\xff"}', "latin1"));
  assert.deepEqual(await finding(), ["failed", "FILE is not one JSON object", false]);
  const { pid } = spawnSync("true");
  write({ pid });
  assert.deepEqual(await finding(), ["refused", `its broker, process ${pid}, has ended; see FILE`, true]);
  if (process.getuid?.() === 0) {
    write();
    chownSync(place.path, 54_322, 0);
    assert.deepEqual(await finding(), ["untrusted", "not trusted: FILE belongs to uid 54322, not to this user", false]);
  }
  chmodSync(dirname(place.path), 0o777);
  assert.equal((await finding())[0], "untrusted");
});

test("the client waits for a file, but not for a better one", async (test) => {
  const { place, write } = scene(test);
  const begun = performance.now();
  const missing = await fails(NotRunningError, Client.connect({ endpoint: "tcp:auto", connectTimeout: 300 }));
  assert(performance.now() - begun >= 200);
  assert.equal(missing.message, `no broker at tcp:auto (no such file: ${place.path})`);
  write({ token: "" });
  const malformed = await fails(NotRunningError, Client.connect({ endpoint: "tcp:auto", connectTimeout: 60_000 }));
  assert.equal(malformed.finding.kind, "failed");
  assert.equal(malformed.message, `tcp:auto: ${place.path} has no valid "token"`);
  write({}, 0o644);
  const open = await fails(NotRunningError, Client.connect({ endpoint: "tcp:auto", connectTimeout: 60_000 }));
  assert.equal(open.finding.kind, "untrusted");
});

interface Fake {
  tokens: unknown[];
  stop: () => void;
}

/** Starts brokers with TLS, with one certificate or with another, and writes their endpoint file. */
function brokers(test: TestContext) {
  const { place, write } = scene(test);
  const start = async (token: string, name = "broker", shows = name): Promise<Fake> => {
    const [key, certificate, shown] = [`${name}.key`, `${name}.pem`, `${shows}.pem`].map((file) =>
      join(dirname(place.path), file),
    ) as [string, string, string];
    if (!existsSync(key)) {
      const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext", "basicConstraints=CA:FALSE"];
      const names = ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
      const all = ["req", "-x509", "-nodes", "-keyout", key, "-out", certificate, ...kind, ...names];
      execFileSync("openssl", all, { stdio: "ignore" });
    }
    const tokens: unknown[] = [];
    const server = new Server();
    type Call = { metadata: { get(key: string): unknown[] } };
    const listReaders = ({ metadata }: Call, answer: (error: null, response: object) => void) => {
      tokens.push(...metadata.get("authorization"));
      answer(null, { readers: [] });
    };
    const { listReaders: definition } = CardBrokerServiceService;
    server.addService({ listReaders: definition }, { listReaders });
    const pair = { private_key: readFileSync(key), cert_chain: readFileSync(certificate) };
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createSsl(null, [pair]), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
    test.after(() => server.forceShutdown());
    write({ endpoint: `https://127.0.0.1:${port}`, token, certificate: readFileSync(shown, "utf8") });
    return { tokens, stop: () => server.forceShutdown() };
  };
  return { start };
}

async function connect(test: TestContext): Promise<Client> {
  const client = await Client.connect({ endpoint: "tcp:auto", tokenFile: "/nowhere/token" });
  test.after(() => client.close());
  return client;
}

test("a restarted broker is found with its new port and token", async (test) => {
  const { start } = brokers(test);
  const first = await start("one");
  const client = await connect(test);
  assert.equal(client.endpoint, "tcp:auto");
  assert.deepEqual(await client.readers(), []);
  first.stop();
  const second = await start("two");
  assert.deepEqual(await client.readers(), []);
  assert.deepEqual([first.tokens, second.tokens], [["Bearer one"], ["Bearer two"]]);
});

test("a token goes only to the connection of its reading", async (test) => {
  const { start } = brokers(test);
  const first = await start("one");
  const client = await connect(test);
  // Another file, while the first connection still works.
  const other = await start("two", "other");
  assert.deepEqual(await client.readers(), []);
  first.stop();
  assert.deepEqual(await client.readers(), []);
  assert.deepEqual([first.tokens, other.tokens], [["Bearer one"], ["Bearer two"]]);
});

test("a program with another certificate gets no token, whatever the environment says", async (test) => {
  const { start } = brokers(test);
  await start("one");
  const other = await start("one", "other", "broker");
  for (const value of [undefined, "0"]) {
    if (value) {
      process.env.NODE_TLS_REJECT_UNAUTHORIZED = value;
      test.after(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED);
    }
    const refused = await fails(NotRunningError, Client.connect({ endpoint: "tcp:auto", connectTimeout: 20_000 }));
    const text = "the port of tcp:auto is not that of the broker of the endpoint file: it has another certificate";
    assert(refused.message.startsWith(text), refused.message);
  }
  assert.deepEqual(other.tokens, []);
});
