/**
 * Runs pairs of SELECT and GET RESPONSE on a simulated card for some seconds, and counts the broken pairs. With
 * --protected the second command reads the file behind the PIN. The time begins with the first turn, so that several
 * programs on one card measure the same period.
 *
 * Usage: pairs READER --seconds S [--session] [--protected] | pairs READER --hold
 */

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { Client, StoppedError } from "cardbroker";

const SELECT = Buffer.from("00A4040006F0434152440100", "hex");
const GET_RESPONSE = Buffer.from("00C0000013", "hex");
const READ_PROTECTED = Buffer.from("00B0810005", "hex");

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string" },
    session: { type: "boolean" },
    protected: { type: "boolean" },
    hold: { type: "boolean" },
  },
});
const [reader] = positionals;
if (reader === undefined || !(values.hold || Number(values.seconds) >= 0)) {
  console.error("usage: pairs READER --seconds S [--session] [--protected] | pairs READER --hold");
  process.exit(2);
}
const client = await Client.connect();
if (values.hold) {
  await hold(reader);
}
const pair = values.session ? inSession : inUnit;
const second = values.protected ? READ_PROTECTED : GET_RESPONSE;
const count = { pairs: 0, broken: 0 };
let end;
while (end === undefined || performance.now() < end) {
  count.pairs += 1;
  if ((await pair(reader)) !== 0x9000) {
    count.broken += 1;
  }
  end ??= performance.now() + Number(values.seconds) * 1000;
}
console.log(JSON.stringify(count));
client.close();

/** Runs a pair as one unit; returns its last status word, `undefined` if the unit stopped.
 * @param {string} reader */
async function inUnit(reader) {
  try {
    const { results } = await client.transmit(reader, [raw(SELECT), raw(second)]);
    return results[1]?.statusWord;
  } catch (error) {
    if (error instanceof StoppedError) {
      return undefined;
    }
    throw error;
  }
}

/** Runs a pair in a session; returns its last status word.
 * @param {string} reader */
function inSession(reader) {
  return client.withSession(reader, async (session) => {
    await session.transmit([raw(SELECT)]);
    const { results } = await session.transmit([raw(second)]);
    return results[0]?.statusWord;
  });
}

/** A command that is sent exactly as given.
 * @param {Uint8Array} apdu */
function raw(apdu) {
  return { apdu, raw: true };
}

/** Keeps a session open until the program is killed.
 * @param {string} reader */
async function hold(reader) {
  const session = await client.openSession(reader);
  await session.transmit([raw(SELECT)]);
  console.log(JSON.stringify({ holding: true }));
  for (;;) {
    await sleep(1_000_000);
  }
}
