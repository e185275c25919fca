/** Readers and cards as events of emitters, for programs that are used to nfc-pcsc. */

import { EventEmitter } from "node:events";

import type { Command } from "./command.js";
import { type CardbrokerError, invalid } from "./error.js";
import type { Reader } from "./reader.js";
import type { Transmitted } from "./response.js";
import type { TransmitOptions } from "./transmit.js";
import type { Watch, WatchEvent } from "./watch.js";

/** An emitter with the arguments of each event in `Events`. */
class Emitter<Events extends Record<keyof Events, unknown[]>> extends EventEmitter {
  override on<E extends keyof Events & string>(event: E, listener: (...values: Events[E]) => void): this {
    return super.on(event, listener as (...values: unknown[]) => void);
  }

  override once<E extends keyof Events & string>(event: E, listener: (...values: Events[E]) => void): this {
    return super.once(event, listener as (...values: unknown[]) => void);
  }

  override off<E extends keyof Events & string>(event: E, listener: (...values: Events[E]) => void): this {
    return super.off(event, listener as (...values: unknown[]) => void);
  }

  override emit<E extends keyof Events & string>(event: E, ...values: Events[E]): boolean {
    return super.emit(event, ...values);
  }
}

/** Runs commands at a reader, as `Client.transmit`. */
export type Transmit = (reader: string, commands: Iterable<Command>, options: TransmitOptions) => Promise<Transmitted>;

/** A card that can be used. */
export interface Card {
  /** The answer to reset, 2–33 bytes. */
  readonly atr: Buffer;
  /** Identifies this insertion of the card, for `ifInsertionId`. */
  readonly insertionId: string;
}

/** The events of {@link CardEvents}. */
export interface CardEventsMap {
  /** The broker has a reader that it had not before; the first ones come when the broker answers. */
  reader: [reader: CardReader];
  /** The broker answers, for the first time or again. */
  connected: [];
  /** The connection was lost, or no broker answers. The events go on by themselves with `connected`. */
  disconnected: [error: CardbrokerError];
  /** No event follows: `close` was called. */
  end: [];
}

/** The events of {@link CardReader}. */
export interface CardReaderEvents {
  /** A card can be used: it was inserted and has answered, or it is there already. */
  card: [card: Card];
  /** The card of the last `card` is gone; another one may be there. */
  "card.off": [card: Card];
  /** The broker no longer has the reader. */
  end: [];
}

/** A reader as an emitter; made by {@link CardEvents}. */
export class CardReader extends Emitter<CardReaderEvents> {
  readonly #transmit: Transmit;
  #reader: Reader;
  #card: Card | undefined;
  /** The insertion of the last card, also after it has gone. */
  #insertionId: string | undefined;

  /** For use by this package only. */
  constructor(transmit: Transmit, reader: Reader) {
    super();
    this.#transmit = transmit;
    this.#reader = reader;
  }

  /** The reader's resource name, `readers/{id}`. */
  get name(): string {
    return this.#reader.name;
  }

  /** The latest state of the reader. */
  get reader(): Reader {
    return this.#reader;
  }

  /** The card of the last `card`, until `card.off`. */
  get card(): Card | undefined {
    return this.#card;
  }

  /**
   * Runs the commands as one unit on the card of the last `card`: if it is gone, the unit fails with
   * `INSERTION_CHANGED` and nothing is sent. Otherwise as `Client.transmit`.
   *
   * @throws {@link InvalidError} if there was no `card` yet.
   */
  transmit(commands: Iterable<Command>, options: TransmitOptions = {}): Promise<Transmitted> {
    const ifInsertionId = this.#insertionId;
    if (ifInsertionId === undefined) {
      return Promise.reject(invalid("reader", `no card was in ${this.name} yet: wait for its event card`));
    }
    return this.#transmit(this.name, commands, { ifInsertionId, ...options });
  }

  /** For use by this package only: takes the latest state and emits what follows from it. */
  update(reader: Reader): void {
    this.#reader = reader;
    // A card stays the same while its insertion does, also while it is reset or used by another program.
    if (this.#card && this.#card.insertionId !== reader.insertionId) {
      this.#leave();
    }
    if (!this.#card && reader.state === "READY") {
      this.#insertionId = reader.insertionId;
      this.#card = { atr: reader.atr, insertionId: reader.insertionId };
      this.emit("card", this.#card);
    }
  }

  /** For use by this package only: the reader is gone. */
  end(): void {
    this.#leave();
    this.emit("end");
  }

  #leave(): void {
    const card = this.#card;
    this.#card = undefined;
    if (card) {
      this.emit("card.off", card);
    }
  }
}

/**
 * Emits readers, each of which emits its cards; made by `Client.events`. An error thrown by a listener is not caught,
 * as in other emitters.
 */
export class CardEvents extends Emitter<CardEventsMap> {
  readonly #transmit: Transmit;
  readonly #watch: Watch;
  readonly #readers = new Map<string, CardReader>();

  /** For use by this package only. Emits nothing before the caller has added its listeners. */
  constructor(transmit: Transmit, watch: Watch) {
    super();
    this.#transmit = transmit;
    this.#watch = watch;
    void this.#run();
  }

  /** The readers by name. */
  get readers(): ReadonlyMap<string, CardReader> {
    return this.#readers;
  }

  /** Ends all events; the last one is `end`. */
  close(): void {
    this.#watch.close();
  }

  async #run(): Promise<void> {
    for await (const event of this.#watch) {
      this.#take(event);
    }
    this.emit("end");
  }

  #take(event: WatchEvent): void {
    switch (event.type) {
      case "connected":
        this.emit("connected");
        break;
      case "disconnected":
        this.emit("disconnected", event.error);
        break;
      case "removed": {
        const gone = this.#readers.get(event.reader.name);
        this.#readers.delete(event.reader.name);
        gone?.end();
        break;
      }
      case "updated": {
        let known = this.#readers.get(event.reader.name);
        if (!known) {
          known = new CardReader(this.#transmit, event.reader);
          this.#readers.set(event.reader.name, known);
          this.emit("reader", known);
        }
        known.update(event.reader);
        break;
      }
    }
  }
}
