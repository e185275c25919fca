/** Readers: their properties, and the ways to name one. */

import {
  CardProtocol as WireProtocol,
  type Reader as WireReader,
  ReaderState as WireState,
} from "../gen/cardbroker/v1/reader.js";
import { invalid } from "./error.js";
import { type Word, toWord } from "./words.js";

/** The states of a reader, see `reader.proto`; only with `READY` the card can be used now. */
export type ReaderState = Word<typeof WireState>;

/** The transmission protocols between reader and card. */
export type CardProtocol = Word<typeof WireProtocol>;

/** A smart-card reader and the card in it. In JSON the answer to reset is hexadecimal. */
export class Reader {
  /** The reader's resource name, `readers/{id}`. */
  readonly name: string;
  /** The reader's PC/SC name, for people. */
  readonly displayName: string;
  /** The state. A state newer than this client is its number: treat it as "cannot be used now". */
  readonly state: ReaderState | number;
  /** The card's answer to reset, 2–33 bytes. Empty without a card or without its answer. */
  readonly atr: Buffer;
  /** The protocol negotiated with the card; absent unless the state is `READY`. */
  readonly activeProtocol?: CardProtocol | number;
  /** Identifies this insertion of this card. Opaque. Empty without a card. */
  readonly insertionId: string;
  /** The count of insertions in this reader since the broker started. */
  readonly insertionCount: number;

  /** For use by this package only. */
  constructor(wire: WireReader) {
    this.name = wire.name;
    this.displayName = wire.displayName;
    this.state = toWord(WireState, wire.state);
    this.atr = wire.atr;
    if (wire.activeProtocol) {
      this.activeProtocol = toWord(WireProtocol, wire.activeProtocol);
    }
    this.insertionId = wire.insertionId;
    this.insertionCount = wire.insertionCount;
  }

  toJSON(): object {
    return { ...this, atr: this.atr.toString("hex") };
  }
}

/** A reader, its name `readers/{id}`, its id, or its display name. */
export type ReaderName = string | Pick<Reader, "name">;

/**
 * The resource name of a reader. Calls `list` only for a text that is neither a name nor an id; throws unless it
 * is the display name of exactly one reader.
 */
export async function resolve(reader: ReaderName, list: () => Promise<readonly Reader[]>): Promise<string> {
  const text: unknown = typeof reader === "string" ? reader : reader?.name;
  if (typeof text !== "string") {
    throw invalid("reader", "a reader is a string or a Reader");
  }
  if (typeof reader !== "string" || text.startsWith("readers/")) {
    return text;
  }
  if (/^[a-z0-9-]+$/.test(text)) {
    return `readers/${text}`;
  }
  const readers = await list();
  const [one, ...more] = readers.filter(({ displayName }) => displayName === text);
  if (!one) {
    const names = readers.map(({ name, displayName }) => `${name} ("${displayName}")`);
    throw invalid("reader", `no reader is called "${text}"; there are: ${names.join(", ") || "none"}`);
  }
  if (more.length > 0) {
    const names = [one, ...more].map(({ name }) => name);
    throw invalid("reader", `more than one reader is called "${text}": ${names.join(", ")}`);
  }
  return one.name;
}
