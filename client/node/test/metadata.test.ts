/** The metadata of calls: groups and tokens. */

import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { type Metadata, Server, ServerCredentials, type UntypedServiceImplementation } from "@grpc/grpc-js";

import { CardBrokerServiceService } from "../gen/cardbroker/v1/service.js";
import type { TransmitRequest } from "../gen/cardbroker/v1/transmit.js";
import { Client, FailedError, InvalidError } from "../src/index.js";
import { Broker, PROTECTED, READER, VERIFY } from "./broker.js";
import { fails } from "./fails.js";

/** Two clients in one process are one caller: only the group tells them apart. */
test("a verified PIN stays within the isolation group", async (test) => {
  const broker = await Broker.start(test);
  const protectedWord = async (client: Client) => (await client.transmit(READER, [PROTECTED])).results[0]?.statusWord;
  const [parent, child] = [
    await broker.client(test, { group: "family" }),
    await broker.client(test, { group: "family" }),
  ];
  await parent.transmit(READER, [VERIFY]);
  assert.equal(await protectedWord(child), 0x9000);
  const stranger = await broker.client(test, { group: "stranger" });
  assert.equal(await protectedWord(stranger), 0x6982);
  assert.equal(await protectedWord(child), 0x6982, "the stranger's turn took it away");
});

test("all calls carry the group from the environment", async (test) => {
  const { endpoint, calls } = await fakeBroker(test);
  process.env.CARDBROKER_GROUP = "from-the-environment";
  test.after(() => {
    delete process.env.CARDBROKER_GROUP;
  });
  const client = await Client.connect({ endpoint, tokenFile: "" });
  test.after(() => {
    client.close();
  });
  await fails(FailedError, client.openSession(READER));
  for await (const event of client.watch()) {
    assert.equal(event.type, "disconnected");
    break;
  }
  assert.deepEqual(
    calls.map((metadata) => metadata.get("cardbroker-group")),
    [["from-the-environment"], ["from-the-environment"]],
  );
  for (const group of ["ä", "two words", "g".repeat(129)]) {
    const { reason, fieldViolations } = await fails(InvalidError, Client.connect({ endpoint, group }));
    assert.deepEqual([reason, fieldViolations[0]?.field], ["INVALID_REQUEST", "cardbroker-group"]);
  }
});

const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

test("the token is for TCP only and read each time", async (test) => {
  const { endpoint, calls } = await fakeBroker(test);
  const folder = mkdtempSync(join(tmpdir(), "cardbroker-node-"));
  test.after(() => {
    rmSync(folder, { recursive: true });
  });
  const tokenFile = join(folder, "token");
  const missing = await fails(InvalidError, Client.connect({ endpoint, tokenFile }));
  assert(missing.message.includes(tokenFile));
  assert.equal(missing.delivery, "NOT_SENT");

  writeFileSync(tokenFile, " first\n", { mode: 0o600 });
  const client = await Client.connect({ endpoint, tokenFile });
  test.after(() => {
    client.close();
  });
  await fails(FailedError, client.transmit(READER, [VERIFY]));
  writeFileSync(tokenFile, "second");
  await fails(FailedError, client.openSession(READER));
  assert.deepEqual(
    calls.map((metadata) => metadata.get("authorization")),
    [["Bearer first"], ["Bearer second"]],
  );
  writeFileSync(tokenFile, CERTIFICATE);
  assert((await fails(InvalidError, client.readers())).message.includes("holds no token"));
  writeFileSync(tokenFile, "\n");
  assert((await fails(InvalidError, client.readers())).message.includes("holds no token"));
  writeFileSync(tokenFile, "two\nlines");
  assert((await fails(InvalidError, client.readers())).message.includes("has more than a token and a certificate"));
  writeFileSync(tokenFile, `third\n${CERTIFICATE}`);
  assert((await fails(InvalidError, client.readers())).message.includes("is plain TCP: use https://"));
  writeFileSync(tokenFile, "third");
  chmodSync(tokenFile, 0o640);
  const { message } = await fails(InvalidError, client.readers());
  assert(message.includes("(its mode is 0640)") && !message.includes("third"), message);
  if (process.geteuid?.() === 0) {
    chmodSync(tokenFile, 0o600);
    chownSync(tokenFile, 54_321, 0);
    const foreign = await fails(InvalidError, client.readers());
    assert(foreign.message.includes("belongs to another user: change its owner with chown"), foreign.message);
  }
  const folderOnly = await fails(InvalidError, Client.connect({ endpoint, tokenFile: folder }));
  assert(folderOnly.message.includes("not a regular file"));
});

test("changes of arguments after the call have no effect", async (test) => {
  const { endpoint, calls, requests } = await fakeBroker(test);
  const client = await Client.connect({ endpoint, tokenFile: "", group: "" });
  test.after(() => client.close());
  const [apdu, requestId] = [Buffer.from(VERIFY), Buffer.from("0123456789abcdef")];
  const options = { requestId, ifStateTag: "s1" };
  const sent = fails(FailedError, client.transmit(READER, [{ apdu }], options));
  apdu.fill(0);
  requestId.fill(0);
  options.ifStateTag = "s2";
  await sent;
  assert.equal(calls.length, 1);
  const { commands, requestId: id, turn } = requests[0] as TransmitRequest;
  assert(commands[0]?.action?.$case === "apdu");
  assert.deepEqual(commands[0].action.value.bytes, VERIFY);
  assert.deepEqual([id.toString(), turn?.ifStateTag], ["0123456789abcdef", "s1"]);
});

test("a Unix socket needs no token", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test, { tokenFile: "/nowhere/token" });
  assert.equal((await client.readers()).length, 2);
});

interface FakeBroker {
  endpoint: string;
  calls: Metadata[];
  requests: unknown[];
}

/** A broker that records the metadata of its calls and answers none of them. */
async function fakeBroker(test: { after(end: () => void): void }): Promise<FakeBroker> {
  const server = new Server();
  const calls: Metadata[] = [];
  const requests: unknown[] = [];
  const refuse = Object.keys(CardBrokerServiceService).map((name) => [
    name,
    (
      call: { metadata: Metadata; request?: unknown; emit(event: string, error: Error): void },
      callback?: (error: Error) => void,
    ) => {
      calls.push(call.metadata);
      requests.push(call.request);
      const error = new Error("a fake");
      if (callback) {
        callback(error);
      } else {
        call.emit("error", error);
      }
    },
  ]);
  server.addService(CardBrokerServiceService, Object.fromEntries(refuse) as UntypedServiceImplementation);
  test.after(() => {
    server.forceShutdown();
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
      if (error) {
        reject(error);
      } else {
        resolve(port);
      }
    });
  });
  return { endpoint: `http://127.0.0.1:${port}`, calls, requests };
}
