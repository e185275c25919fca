/** TLS on the broker's TCP port: the broker of the token file is reached, and no other program. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { Client, InvalidError, NotRunningError } from "../src/index.js";
import { Broker, until } from "./broker.js";
import { fails } from "./fails.js";

const TEXT = "is not the broker of the token file: it has another certificate or no TLS; nothing was sent to it";

/** A broker on a TCP port, and the file of a token that may do everything. */
async function remote(test: TestContext): Promise<{ port: number; tokenFile: string }> {
  const folder = mkdtempSync(join(tmpdir(), "cardbroker-node-"));
  test.after(() => rmSync(folder, { recursive: true }));
  const [tokens, tokenFile, rules] = ["tokens", "token", "rules.toml"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const program = process.env.CARDBROKERD ?? "cardbrokerd";
  execFileSync(program, ["token", "new", "tests", "--tokens", tokens, "--out", tokenFile], { stdio: "ignore" });
  writeFileSync(rules, "rule = [{ name = 'tests', principals = ['token:tests'], allow = ['all'] }]");
  const broker = await Broker.start(test, "--tcp", "127.0.0.1:0", "--tokens", tokens, "--config", rules);
  const port = () => Number(/ tcp=127\.0\.0\.1:(\d+)\s/.exec(broker.log)?.[1]);
  await until("the port is in the log", () => port() > 0);
  return { port: port(), tokenFile };
}

test("the broker of the token file is reached", async (test) => {
  const { port, tokenFile } = await remote(test);
  for (const host of ["127.0.0.1", "localhost"]) {
    const client = await Client.connect({ endpoint: `https://${host}:${port}`, tokenFile });
    assert.equal((await client.getBroker()).caller.principal, "token tests");
    client.close();
  }
});

test("a broker with another certificate gets nothing", async (test) => {
  const [one, other] = [await remote(test), await remote(test)];
  const endpoint = `https://127.0.0.1:${one.port}`;
  const refused = await fails(NotRunningError, Client.connect({ endpoint, tokenFile: other.tokenFile }));
  assert.deepEqual([refused.message, refused.delivery], [`${endpoint} ${TEXT}`, "NOT_SENT"]);
});

test("a program that has taken the port gets nothing", async (test) => {
  const { tokenFile } = await remote(test);
  const seen: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on("data", (data) => seen.push(data)).on("error", () => undefined);
    socket.write(Buffer.from("000000040000000000", "hex"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(() => server.close());
  const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const refused = await fails(NotRunningError, Client.connect({ endpoint, tokenFile }));
  assert.equal(refused.message, `${endpoint} ${TEXT}`);
  const [token] = readFileSync(tokenFile, "utf8").split("\n");
  const all = Buffer.concat(seen);
  assert(token && all[0] === 0x16 && !all.includes(token));
});

test("without a certificate there is no connection", async (test) => {
  const { port, tokenFile } = await remote(test);
  const endpoint = `https://127.0.0.1:${port}`;
  const without = await fails(InvalidError, Client.connect({ endpoint, tokenFile: "" }));
  assert(without.message.startsWith(`${endpoint} needs a token file, which has the broker's certificate`));
  const [token] = readFileSync(tokenFile, "utf8").split("\n");
  writeFileSync(tokenFile, `${token}\n`);
  const plain = await fails(InvalidError, Client.connect({ endpoint, tokenFile }));
  assert(plain.message.includes("has no certificate: make a new one with"), plain.message);
});
