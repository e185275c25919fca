/** The outcome of a unit: its answers, and the error of a unit that stopped early. */

import { type InspectOptions, inspect } from "node:util";

import { StatusWordSource as WireSource, type CommandResult as WireResult } from "../gen/cardbroker/v1/command.js";
import type { TransmitResponse } from "../gen/cardbroker/v1/transmit.js";
import { CardbrokerError, type Failure } from "./error.js";
import { inBand } from "./failure.js";
import { milliseconds } from "./times.js";
import { type Word, toWord } from "./words.js";

/** The answers and times of a unit. */
export interface Transmitted {
  /** The answers, in the order of the commands. */
  readonly results: readonly CommandResult[];
  /** The insertion that the unit ran on; within a session the insertion at its opening. */
  readonly insertionId: string;
  /** The state tag after the unit, for `ifStateTag`. Empty within a session, where no other caller can change it. */
  readonly stateTag: string;
  /** The time that the unit waited for its turn, in ms. Zero within a session. */
  readonly queueDuration: number;
  /** The time that the card worked on the unit, in ms. */
  readonly cardDuration: number;
  /** Whether the card was reset since the previous unit or before the first command. False within a session. */
  readonly wasReset: boolean;
  /** Whether this is the stored outcome of an earlier unit with the same request id. */
  readonly replayed: boolean;
}

/**
 * The exchange that a status word comes from: the command, the command with the Le that the card wanted, or a GET
 * RESPONSE.
 */
export type StatusWordSource = Word<typeof WireSource>;

/** The answer to one command. Inspecting it shows neither its data nor their length; its JSON has the data. */
export class CommandResult {
  /** The kind of answer; absent if it is newer than this client. */
  readonly kind?: "apdu" | "control" | "attribute" | "pinPad";
  /** The response data without the status word, the reader's answer, or the value of an attribute. */
  readonly data: Buffer = Buffer.alloc(0);
  /** SW1 and SW2: 0x9000 is normal processing. 0 where the action has no status word. */
  readonly statusWord: number = 0;
  /**
   * The exchange that the status word comes from; a value newer than this client is its number.
   */
  readonly statusWordSource?: StatusWordSource | number;
  /** The count of GET RESPONSEs that an APDU took, 0–256. */
  readonly getResponseCount: number = 0;
  /** The time that the card and its reader worked on the command, in ms. */
  readonly cardDuration: number;

  /** For use by this package only. */
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
    return `CommandResult ${inspect({ ...this, data: "[redacted]", statusWord }, options)}`;
  }
}

/** A unit that ended before its last command was answered. */
export class StoppedError extends CardbrokerError {
  constructor(
    failure: Failure,
    /** The first command without a complete answer, counted from 0; `delivery` concerns this command. */
    readonly index: number,
    /** The answers before the stop. */
    readonly partial: Transmitted,
  ) {
    super("stopped", failure, `stopped at command ${index + 1}: ${failure.message}`);
  }

  override toJSON(): object {
    return { ...super.toJSON(), index: this.index };
  }
}

/**
 * Converts the outcome of a unit.
 *
 * @throws {@link StoppedError} if it stopped early.
 */
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
