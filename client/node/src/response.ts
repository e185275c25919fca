/** What comes back from a unit: the answers, and where it stopped if it did. */

import { type InspectOptions, inspect } from "node:util";

import { StatusWordSource as WireSource, type CommandResult as WireResult } from "../gen/cardbroker/v1/command.js";
import type { TransmitResponse } from "../gen/cardbroker/v1/transmit.js";
import { CardbrokerError, type Failure } from "./error.js";
import { inBand } from "./failure.js";
import { milliseconds } from "./times.js";
import { type Word, toWord } from "./words.js";

/** What a unit answered, and how it ran. */
export interface Transmitted {
  /** The answers, in the order of the commands. */
  readonly results: readonly CommandResult[];
  /** The insertion that the unit ran on; within a session the one that it was opened on. */
  readonly insertionId: string;
  /** The card's state after the unit, for `ifStateTag`. Empty within a session, where nobody else can change it. */
  readonly stateTag: string;
  /** How long the unit waited for its turn, in ms. Zero within a session. */
  readonly queueDuration: number;
  /** How long the card worked on it, in ms. */
  readonly cardDuration: number;
  /** Whether the card was reset since the unit before, or before the first command. Always false within a session. */
  readonly wasReset: boolean;
  /** Whether this is the kept outcome of an earlier unit with the same request id. */
  readonly replayed: boolean;
}

/**
 * Which exchange gave a status word: the command, the command with the Le that the card asked for, or a GET RESPONSE.
 */
export type StatusWordSource = Word<typeof WireSource>;

/** The answer to one command. Printed or inspected it shows the length of its data only; as JSON its data are hex. */
export class CommandResult {
  /** What was answered; absent if it is newer than this client. */
  readonly kind?: "apdu" | "control" | "attribute" | "pinPad";
  /** The response data without the status word, what the reader answered, or the value of an attribute. */
  readonly data: Buffer = Buffer.alloc(0);
  /** SW1 and SW2: 0x9000 is normal processing. 0 where the action has no status word. */
  readonly statusWord: number = 0;
  /**
   * Which of the exchanges that an APDU took gave the status word; one that is newer than this client is its number.
   */
  readonly statusWordSource?: StatusWordSource | number;
  /** How many GET RESPONSEs were sent for an APDU, 0–256. */
  readonly getResponseCount: number = 0;
  /** How long the card and its reader worked on the command, in ms. */
  readonly cardDuration: number;

  /** Made by this package only. */
  constructor({ outcome, cardDuration }: WireResult) {
    this.cardDuration = milliseconds(cardDuration);
    if (!outcome) {
      return;
    }
    this.kind = outcome.$case;
    switch (outcome.$case) {
      case "apdu":
        this.data = outcome.value.data;
        this.statusWord = outcome.value.statusWord;
        if (outcome.value.statusWordSource) {
          this.statusWordSource = toWord(WireSource, outcome.value.statusWordSource);
        }
        this.getResponseCount = outcome.value.getResponseCount;
        break;
      case "control":
        this.data = outcome.value.data;
        break;
      case "attribute":
        this.data = outcome.value.value;
        break;
      case "pinPad":
        this.statusWord = outcome.value.statusWord;
        break;
    }
  }

  toJSON(): object {
    return { ...this, data: this.data.toString("hex") };
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    const statusWord = this.statusWord.toString(16).toUpperCase().padStart(4, "0");
    return `CommandResult ${inspect({ ...this, data: `${this.data.length} bytes`, statusWord }, options)}`;
  }
}

/** The unit ended before its last command was answered. */
export class StoppedError extends CardbrokerError {
  constructor(
    failure: Failure,
    /** The command, counted from 0, that has no complete answer. `delivery` concerns this one. */
    readonly index: number,
    /** What was answered until then. */
    readonly partial: Transmitted,
  ) {
    super("stopped", failure, `stopped at command ${index + 1}: ${failure.message}`);
  }

  override toJSON(): object {
    return { ...super.toJSON(), index: this.index };
  }
}

/** What a unit answered; throws {@link StoppedError} if it stopped early. */
export function transmittedOrStopped(response: TransmitResponse): Transmitted {
  const { stopped, insertionId, stateTag, wasReset, replayed } = response;
  const transmitted: Transmitted = {
    results: response.results.map((result) => new CommandResult(result)),
    insertionId,
    stateTag,
    queueDuration: milliseconds(response.queueDuration),
    cardDuration: milliseconds(response.cardDuration),
    wasReset,
    replayed,
  };
  if (stopped) {
    throw new StoppedError(inBand(stopped.failure), stopped.index, transmitted);
  }
  return transmitted;
}
