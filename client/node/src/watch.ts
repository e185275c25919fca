/**
 * Following the readers through losses of the connection: a watch that opens its stream anew and tells what changed
 * meanwhile.
 */

import { setTimeout as sleep } from "node:timers/promises";

import type { WatchReadersResponse } from "../gen/cardbroker/v1/reader.js";
import type { Connection, Line } from "./connection.js";
import type { CardbrokerError } from "./error.js";
import type { Reader } from "./reader.js";
import { applyChange, applySnapshot } from "./readers.js";
import { jittered } from "./repeat.js";
import { messages } from "./stream.js";

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;

/** One thing that happened. */
export type WatchEvent =
  /** The broker tells the state of its readers, for the first time or again; what differs from before follows. */
  | { readonly type: "connected" }
  /**
   * The connection was lost, or could not be made within `connectTimeout`. The watch keeps trying by itself, though with
   * an error that `isPermanent` there is little hope, and `Watch.readers` keeps what was known last.
   */
  | { readonly type: "disconnected"; readonly error: CardbrokerError }
  /** A reader is new or has changed; this is its latest state. */
  | { readonly type: "updated"; readonly reader: Reader }
  /** A reader is gone; this was its last state. */
  | { readonly type: "removed"; readonly reader: Reader };

/**
 * Follows all readers; made by `Client.watch`. Iterating over it waits without end for the next event, until `close`,
 * the signal, or leaving the loop ends it.
 *
 * Heartbeats are not told. Silence of 90 s counts as a lost connection. Attempts to connect are 0.1 s apart at first
 * and 5 s at most.
 */
export class Watch implements AsyncIterableIterator<WatchEvent> {
  readonly #connection: Connection;
  readonly #readers = new Map<string, Reader>();
  readonly #ending = new AbortController();
  readonly #events: AsyncGenerator<WatchEvent, undefined, void>;
  #forget = () => {};
  #resumeToken = "";
  /** `undefined` before the first attempt has ended. */
  #connected: boolean | undefined;
  #pause = FIRST_PAUSE;

  /** Nothing happens before the first `next`. */
  constructor(connection: Connection, signal?: AbortSignal) {
    this.#connection = connection;
    this.#events = this.#follow();
    if (signal) {
      const end = () => this.close();
      this.#forget = () => signal.removeEventListener("abort", end);
      signal.addEventListener("abort", end);
      if (signal.aborted) {
        this.close();
      }
    }
  }

  /** The readers by name, as last told by the broker; empty before the first `connected`. */
  get readers(): ReadonlyMap<string, Reader> {
    return this.#readers;
  }

  /** Whether `readers` is up to date as far as anyone can tell. */
  get isConnected(): boolean {
    return this.#connected === true;
  }

  /** Ends the watch, and with it a loop that waits for its next event. */
  close(): void {
    this.#forget();
    this.#ending.abort();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<WatchEvent, undefined>> {
    return this.#events.next();
  }

  /** Called when a loop is left. */
  return(): Promise<IteratorResult<WatchEvent, undefined>> {
    this.close();
    return this.#events.return(undefined);
  }

  async *#follow(): AsyncGenerator<WatchEvent, undefined, void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        const open = ({ stub, metadata }: Line) => stub.watchReaders({ resumeToken: this.#resumeToken }, metadata);
        for await (const message of messages(this.#connection, { open, signal })) {
          yield* this.#take(message);
        }
      } catch (error) {
        if (signal.aborted) {
          break;
        }
        const told = this.#connected === false;
        this.#connected = false;
        if (!told) {
          yield { type: "disconnected", error: error as CardbrokerError };
        }
        await sleep(jittered(this.#pause), undefined, { signal }).catch(() => {});
        this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
      }
    }
    return undefined;
  }

  *#take({ event, resumeToken }: WatchReadersResponse): Generator<WatchEvent> {
    this.#pause = FIRST_PAUSE;
    this.#resumeToken = resumeToken;
    const news = this.#connected !== true;
    this.#connected = true;
    // Before the first yield: a loop that is left must not find half of it.
    const changes =
      event?.$case === "snapshot"
        ? applySnapshot(this.#readers, event.value)
        : event?.$case === "change"
          ? applyChange(this.#readers, event.value)
          : [];
    if (news) {
      yield { type: "connected" };
    }
    yield* changes;
  }
}
