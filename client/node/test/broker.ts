/** A private broker for each test: the real `cardbrokerd` as a process, on a socket in a temporary folder. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, closeSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { type ApduCommand, Client, type ConnectOptions } from "../src/index.js";

/** The first simulated reader; its card speaks T=1. */
export const READER = "readers/simulated-reader-00";

export const SELECT = hex("00A4040006F04341524401");
export const SELECT_AND_FETCH = hex("00A4040006F0434152440100");
export const GET_RESPONSE = hex("00C0000013");
export const INCREMENT = hex("8012000004");
export const VERIFY = hex("00200080083132333435363738");
export const PROTECTED = hex("00B0810005");

/** The longest wait for steps that are not under test, in ms. */
const LONG = 20_000;

/** Bytes from hexadecimal text. */
export function hex(text: string): Buffer {
  return Buffer.from(text, "hex");
}

/** A command that is sent exactly as given. */
export function raw(apdu: Buffer): ApduCommand {
  return { apdu, raw: true };
}

/** A command that the card answers after this time, in ms. */
export function slow(milliseconds: number): Buffer {
  return hex(`8016000002${milliseconds.toString(16).padStart(4, "0")}`);
}

/** A command that triggers a fault of the simulated card. */
export function fault(kind: number, a: number, b: number): Buffer {
  const command = hex("80F000000400000000");
  command.writeUInt8(kind, 2);
  command.writeUInt16BE(a, 5);
  command.writeUInt16BE(b, 7);
  return command;
}

/** A short APDU whose data the card echoes. */
export function echo(data: Buffer): Buffer {
  return Buffer.concat([hex("80140000"), Buffer.of(data.length), data, Buffer.of(data.length)]);
}

// An interrupted test run exits here, which ends its brokers.
process.once("SIGTERM", () => process.exit(1));

/** A running broker; killed at the end of its test. */
export class Broker {
  readonly #folder = mkdtempSync(join(tmpdir(), "cardbroker-node-"));
  readonly #flags: string[];
  #process: ChildProcess | undefined;

  private constructor(flags: string[]) {
    this.#flags = flags;
  }

  /** Starts a broker with two readers, cards in them, and waits until they are ready. */
  static async start(test: TestContext, ...flags: string[]): Promise<Broker> {
    const broker = new Broker(flags);
    const kill = () => broker.#process?.kill("SIGKILL");
    process.once("exit", kill);
    test.after(async () => {
      process.off("exit", kill);
      await broker.stop("SIGKILL");
      rmSync(broker.#folder, { recursive: true });
    });
    await broker.start();
    return broker;
  }

  get socket(): string {
    return join(this.#folder, "cardbroker.sock");
  }

  get endpoint(): string {
    return `unix:${this.socket}`;
  }

  /** The log of the broker so far. */
  get log(): string {
    return readFileSync(join(this.#folder, "log"), "utf8");
  }

  /** A client with a group of its own; closed at the end of the test. */
  async client(test: TestContext, options: ConnectOptions = {}): Promise<Client> {
    const client = await Client.connect({ endpoint: this.endpoint, group: "", ...options });
    test.after(() => client.close());
    return client;
  }

  async start(): Promise<void> {
    const program = process.env.CARDBROKERD;
    if (!program) {
      throw new Error("CARDBROKERD is not set to the path of cardbrokerd: run test.sh");
    }
    const log = openSync(join(this.#folder, "log"), "a");
    // Ignores the configuration and the folder of the user.
    const config = this.#flags.includes("--config") ? [] : ["--config", "/dev/null"];
    const own = [...config, "--simulate", "2", "--socket", this.socket, "--log", "debug"];
    this.#process = spawn(program, [...own, ...this.#flags], {
      env: { ...process.env, XDG_CONFIG_HOME: this.#folder },
      stdio: ["ignore", "ignore", log],
    });
    closeSync(log);
    await until("the broker answers", () => accepts(this.socket));
    const client = await Client.connect({ endpoint: this.endpoint, group: "" });
    await until("the cards are ready", async () => {
      return (await client.readers()).every(({ state }) => state === "READY");
    });
    client.close();
  }

  /** Ends the broker by a signal, unless it has ended. */
  async stop(signal: NodeJS.Signals): Promise<void> {
    const process = this.#process;
    if (process && process.exitCode === null && process.signalCode === null) {
      const ended = once(process, "exit");
      process.kill(signal);
      await ended;
    }
  }
}

/** Waits for a condition, at most {@link LONG} ms. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + LONG;
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`not in time: ${what}`);
    }
    await sleep(5);
  }
}

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket, () => {
      connection.destroy();
      resolve(true);
    });
    connection.on("error", () => {
      resolve(false);
    });
  });
}
