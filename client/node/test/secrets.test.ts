/**
 * No printed object shows a byte of a command or an answer; only the JSON of an answer does.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { format, inspect } from "node:util";

import { FailedError, StoppedError } from "../src/index.js";
import { Broker, READER, echo, fault, hex } from "./broker.js";
import { fails } from "./fails.js";

test("only the JSON of an answer shows its bytes", async (test) => {
  const broker = await Broker.start(test);
  const client = await broker.client(test, { group: "a-group's-secret" });
  const secret = Buffer.from("a PIN, such as 735190");
  const { results } = await client.transmit(READER, [echo(secret)]);
  assert.deepEqual(results[0]?.data, secret);
  const stopped = await fails(StoppedError, client.transmit(READER, [echo(secret), hex("00FF0000"), echo(secret)]));
  const session = await client.openSession(READER);
  const within = await session.transmit([echo(secret)]);
  const malformed = await fails(FailedError, session.transmit([Buffer.concat([hex("00A4040006"), secret])]));
  const failed = await fails(FailedError, session.transmit([Buffer.concat([fault(6, 0, 0), secret])]));

  const forms = [
    secret.toString(),
    secret.toString("hex"),
    [...secret.subarray(0, 8)].join(","),
    secret.toString("base64"),
  ];
  const printed = [results, results[0], stopped, stopped.partial, within, malformed, failed, session, client];
  for (const ours of printed as unknown[]) {
    for (const text of [inspect(ours, { depth: 9, showHidden: true }), format("%o", ours), String(ours)]) {
      reveals(text);
    }
  }
  assert(
    inspect(results[0]).includes("data: '[redacted]'") && inspect(results[0]).includes("9000"),
    inspect(results[0]),
  );
  for (const ours of [stopped, malformed, failed, session, client]) {
    reveals(JSON.stringify(ours));
  }
  assert.equal((JSON.parse(JSON.stringify(results[0])) as { data: string }).data, secret.toString("hex"));

  function reveals(printed: string) {
    const flat = printed.replace(/\s/g, "").toLowerCase();
    for (const form of [...forms, [...secret].map((byte) => byte.toString(16)).join(""), "a-group's-secret"]) {
      assert(!flat.includes(form.replace(/\s/g, "").toLowerCase()), printed);
    }
  }
});
