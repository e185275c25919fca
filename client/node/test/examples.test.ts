/** The example programs, run as users run them, and their excerpts in the README. */

import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { promisify } from "node:util";

import { Broker, READER, SELECT } from "./broker.js";

const PACKAGE = join(__dirname, "../..");

test("the README shows excerpts of the examples", () => {
  const examples = readdirSync(join(PACKAGE, "examples")).map((name) => text(join("examples", name)));
  const parts = text("README.md").split("```");
  assert(parts.length > 1 && parts.length % 2 === 1);
  for (const part of parts.filter((_, index) => index % 2 === 1)) {
    const [language = "", ...lines] = part.split("\n");
    assert(["js", "sh", "text"].includes(language), part);
    assert(language !== "js" || examples.some((example) => example.includes(lines.join("\n"))), part);
  }
});

test("the package can be required, as the examples import it", () => {
  const required = createRequire(join(PACKAGE, "package.json"))("cardbroker") as object;
  assert("Client" in required && "StoppedError" in required);
});

test("npm installs the folder so that it can be imported", async (test) => {
  const folder = mkdtempSync(join(tmpdir(), "cardbroker-node-"));
  test.after(() => rmSync(folder, { recursive: true }));
  const [source, project] = [join(folder, "source"), join(folder, "project")];
  const isBuilt = (name: string) =>
    ["bin", "dist", "gen", "node_modules"].some((built) => name === join(PACKAGE, built));
  cpSync(PACKAGE, source, { recursive: true, filter: (name) => !isBuilt(name) });
  // Reuses the fetched packages.
  symlinkSync(join(PACKAGE, "node_modules"), join(source, "node_modules"));
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), "{}");
  const options = { cwd: project, timeout: 120_000 };
  await promisify(execFile)("npm", ["install", "--offline", "--no-audit", "--no-fund", source], options);
  const program = 'import { Client } from "cardbroker"; console.log(typeof Client.connect);';
  const { stdout } = await promisify(execFile)("node", ["--input-type=module", "-e", program], options);
  assert.equal(stdout, "function\n");
});

test("the first example waits for a card, selects and reads", async (test) => {
  const broker = await Broker.start(test);
  assert.equal(await run(broker, "read"), "000102030405060708090a0b0c0d0e0f 9000\n");
});

test("the session example reads the file behind the PIN", async (test) => {
  const broker = await Broker.start(test);
  assert.equal(await run(broker, "session"), "Only for those who know the PIN.\n");
});

test("the following example prints the states of readers", async (test) => {
  const broker = await Broker.start(test);
  const follower = start(broker, "follow");
  test.after(() => follower.kill("SIGKILL"));
  assert(follower.stdout);
  const [line] = (await once(createInterface(follower.stdout), "line")) as [string];
  assert.equal(line, `${READER} READY`);
});

test("the events example reads from the card that is there", async (test) => {
  const broker = await Broker.start(test);
  const reading = start(broker, "events");
  test.after(() => reading.kill("SIGKILL"));
  assert(reading.stdout);
  const lines: string[] = [];
  for await (const line of createInterface(reading.stdout)) {
    lines.push(line);
    if (lines.filter((line) => line === "9000").length === 2) break;
  }
  reading.kill("SIGKILL");
  assert.match(lines[0] ?? "", /^readers\/simulated-reader-0[01] has a card, 3b/);
});

test("stubs without this package can use the broker", async (test) => {
  const broker = await Broker.start(test);
  assert.deepEqual(JSON.parse(await run(broker, "bare", READER)), { readers: 2, status_word: 0x9000 });
});

test("pairs of several programs on one card stay whole", async (test) => {
  const broker = await Broker.start(test);
  const pairs = (...more: string[]) => run(broker, "pairs", READER, "--seconds", "1", ...more);
  for (const output of await Promise.all([pairs(), pairs("--session"), pairs()])) {
    const { pairs, broken } = JSON.parse(output) as { pairs: number; broken: number };
    assert(pairs > 10 && broken === 0, output);
  }
});

test("a killed program loses its lease", async (test) => {
  const broker = await Broker.start(test);
  const holder = start(broker, "pairs", READER, "--hold");
  test.after(() => holder.kill("SIGKILL"));
  assert(holder.stdout);
  const [line] = (await once(createInterface(holder.stdout), "line")) as [string];
  assert.equal(line, '{"holding":true}');
  const client = await broker.client(test);
  const waiting = client.transmit(READER, [SELECT], { waitTimeout: 5_000 });
  holder.kill("SIGKILL");
  assert.equal((await waiting).results[0]?.statusWord, 0x9000);
});

function text(name: string): string {
  return readFileSync(join(PACKAGE, name), "utf8");
}

async function run(broker: Broker, program: string, ...parameters: string[]): Promise<string> {
  const options = { env: { ...process.env, CARDBROKER_ENDPOINT: broker.endpoint }, timeout: 20_000 };
  return (await promisify(execFile)(join(PACKAGE, "bin", program), parameters, options)).stdout;
}

function start(broker: Broker, program: string, ...parameters: string[]): ChildProcess {
  const env = { ...process.env, CARDBROKER_ENDPOINT: broker.endpoint };
  return spawn(join(PACKAGE, "bin", program), parameters, { env, stdio: ["ignore", "pipe", "inherit"] });
}
