/**
 * The watch of all readers, which reconnects after a loss and reports the changes since then.
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

/** One event of a watch. */
export type WatchEvent =
  /** The broker reports its readers, for the first time or again; events for the differences follow. */
  | { readonly type: "connected" }
  /**
   * The connection was lost, or no broker answered within `connectTimeout`. The watch reconnects by itself, although
   * attempts after an error that `isPermanent` are likely to fail too. `Watch.readers` keeps the last known readers.
   */
  | { readonly type: "disconnected"; readonly error: CardbrokerError }
  /** A reader is new or has changed; `reader` is its latest state. */
  | { readonly type: "updated"; readonly reader: Reader }
  /** The broker no longer has a reader; `reader` is its last state. */
  | { readonly type: "removed"; readonly reader: Reader };

/**
 * Follows all readers; made by `Client.watch`. The iteration is endless: `close`, the signal, or leaving the loop ends
 * it.
 *
 * Heartbeats are no events. 90 s of silence count as a lost connection. The pauses between attempts to connect grow
 * from 0.1 s to 5 s.
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

  /** Opens no stream before the first `next`. */
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

  /** The readers by name, as last reported by the broker; empty before the first `connected`. */
  get readers(): ReadonlyMap<string, Reader> {
    return this.#readers;
  }

  /** Whether the stream is open, so that `readers` is current. */
  get isConnected(): boolean {
    return this.#connected === true;
  }

  /** Ends the watch and every loop that waits for its next event. */
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

  /** Ends the watch; called when a loop is left. */
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
        const wasReported = this.#connected === false;
        this.#connected = false;
        if (!wasReported) {
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
    // Applies the whole message before the first yield, because the loop may be left there.
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
