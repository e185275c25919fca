/** Sessions: a card that belongs to this program for as long as the session's stream lives. */

import { type InspectOptions, inspect } from "node:util";

import { status } from "@grpc/grpc-js";

import { SessionOpen, type SessionOpened, SessionTransmit } from "../gen/cardbroker/v1/session.js";
import { TransmitResponse } from "../gen/cardbroker/v1/transmit.js";
import { CardReset as WireReset } from "../gen/cardbroker/v1/turn.js";
import { answers } from "./answers.js";
import { bounded } from "./bounded.js";
import { type Command, checkMessage, toWire } from "./command.js";
import type { Connection } from "./connection.js";
import { Conversation, MAX_PIPELINED, type Message, type Reply } from "./conversation.js";
import { FailedError, aborted, deadlinePassed, own } from "./error.js";
import { fromWord, toDuration } from "./input.js";
import type { Patience } from "./query.js";
import { type Transmitted, transmittedOrStopped } from "./response.js";
import { callLimit, milliseconds } from "./times.js";
import { type CardReset, type Disposition, type TurnOptions, dispositionToWire, turnToWire } from "./turn.js";

/** How to open a session. */
export interface SessionOptions extends TurnOptions {
  /**
   * How long the session may idle while others wait before the broker takes it away, in ms, 100–60,000. Default: 10 s.
   */
  idleTimeout?: number;
  /**
   * What happens to the card after `close`. Default: `RESET`; `LEAVE` needs the permission `leave`. After a session
   * that ended otherwise the card is reset.
   */
  disposition?: Disposition;
  /** Tells how many turns come before this one, now and whenever that changes, until the session is open. */
  onQueuePosition?: (turnsAhead: number) => void;
  /** Ends the session at once, open or not, as `abort` does. */
  signal?: AbortSignal;
}

/** How to send a message of a session. */
export interface SessionMessageOptions {
  /**
   * Whether to go on after a failed message before this one. Default: if this program has been told of that failure.
   */
  restart?: boolean;
}

/** The room that the id, `restart` and their framing need in a message at most. */
const ENVELOPE_BYTES = 32;

/**
 * A card that belongs to this program, made by `Client.openSession`: no other program's command reaches it.
 *
 * **Order.** Several calls may be under way at once. They reach the card in the order in which they were made. At most
 * 32 are on their way; further ones wait in this program.
 *
 * **Failures.** A call that fails while `isOpen` leaves the session alive. What was sent behind it before its failure
 * was told fails as well, not sent (`PRECEDING_FAILED`); the first call after that goes on. `StoppedError` is no such
 * failure: what was sent behind it runs.
 *
 * **End.** `close` ends it in good order, and so does leaving the block of an `await using`. `abort` ends it at once.
 */
export class Session {
  readonly #conversation: Conversation;
  readonly #opened: SessionOpened;
  /** How many failures callers have been told of. */
  #knownFailureCount = 0;

  /** Made by {@link openSession} only. */
  constructor(conversation: Conversation, opened: SessionOpened) {
    this.#conversation = conversation;
    this.#opened = opened;
  }

  /** The insertion that the session was opened on. */
  get insertionId(): string {
    return this.#opened.insertionId;
  }

  /** The card's state at the start of the session. */
  get stateTag(): string {
    return this.#opened.stateTag;
  }

  /** The card's answer to reset at the start of the session. */
  get atr(): Buffer {
    return this.#opened.atr;
  }

  /** How long the session waited for its turn, in ms. */
  get queueDuration(): number {
    return milliseconds(this.#opened.queueDuration);
  }

  /** Whether the card was reset since its user before, or at the start of the session. */
  get wasReset(): boolean {
    return this.#opened.wasReset;
  }

  /** How many callers wait for the card, as last told by the broker. */
  get waiters(): number {
    return this.#conversation.waiters;
  }

  /** Whether calls can still succeed, as far as anyone can tell. */
  get isOpen(): boolean {
    return this.#conversation.isOpen;
  }

  /** Runs commands, 1–64, in order up to the first stop. No other call's command falls between them. */
  async transmit(commands: Iterable<Command>, options: SessionMessageOptions = {}): Promise<Transmitted> {
    const value = SessionTransmit.create();
    value.commands = toWire(commands);
    checkMessage(() => SessionTransmit.encode(value), ENVELOPE_BYTES);
    const answer = await this.#ask({ $case: "transmit", value }, options);
    if (answer.$case !== "transmitted") {
      throw otherAnswer();
    }
    const { results, stopped, cardDuration } = answer.value;
    const { insertionId } = this;
    return transmittedOrStopped({ ...TransmitResponse.create(), results, stopped, cardDuration, insertionId });
  }

  /**
   * Runs units one after the other, up to 32 of them on their way at once, and tells the outcome of each in their
   * order. A failure does not end the iteration, so that no answer that came is lost.
   */
  answers(
    units: Iterable<Iterable<Command>> | AsyncIterable<Iterable<Command>>,
    options: SessionMessageOptions = {},
  ): AsyncGenerator<PromiseSettledResult<Transmitted>, void, void> {
    return answers(units, (commands) => this.transmit(commands, options), MAX_PIPELINED);
  }

  /** Resets the card. Gives its new answer to reset, 2–33 bytes, which may differ from the one before. */
  async reset(reset: Exclude<CardReset, "NONE"> = "WARM", options: SessionMessageOptions = {}): Promise<Buffer> {
    const value = { id: 0, reset: fromWord(WireReset, reset, "reset") };
    const answer = await this.#ask({ $case: "reset", value }, options);
    if (answer.$case !== "resetDone") {
      throw otherAnswer();
    }
    return answer.value.atr;
  }

  /**
   * Ends the session in good order: what was sent is answered, then the card is treated as `disposition` says.
   * Fulfilled when the broker says that this is done; rejected if the session had ended, or ends, otherwise.
   */
  close(): Promise<void> {
    return this.#conversation.close();
  }

  /**
   * Ends the session at once: commands that wait are not sent, the one in flight runs to its end, and the card is
   * reset.
   */
  abort(): void {
    this.#conversation.fail(own(status.CANCELLED, "UNKNOWN", "the session was aborted"));
  }

  /** Closes it, unless it has ended already, which its calls have told. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isOpen) {
      await this.close();
    }
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    const { insertionId, isOpen, waiters } = this;
    return `Session ${inspect({ insertionId, isOpen, waiters }, options)}`;
  }

  async #ask(message: Message, { restart }: SessionMessageOptions): Promise<Exclude<Reply["response"], FailedError>> {
    const knownFailureCount = this.#knownFailureCount;
    const { response, failureCount } = await this.#conversation.ask({ message, knownFailureCount, restart });
    // Here and not where the answer comes in: now the caller is told.
    this.#knownFailureCount = Math.max(this.#knownFailureCount, failureCount);
    if (response instanceof FailedError) {
      throw response;
    }
    return response;
  }
}

/** Waits for the turn and takes the card. No command is sent before. */
export async function openSession(
  connection: Connection,
  name: (patience: Patience) => Promise<string>,
  options: SessionOptions,
): Promise<Session> {
  const { signal, waitTimeout, idleTimeout, onQueuePosition = () => {} } = options;
  // The card gets its time for a reset. A broker that is silent for longer is stuck.
  const end = Date.now() + callLimit(waitTimeout);
  const rest = () => ({ limit: Math.max(0, end - Date.now()), signal });
  const open = SessionOpen.create();
  open.turn = turnToWire(options);
  open.idleTimeout = idleTimeout === undefined ? undefined : toDuration(idleTimeout, "idle_timeout");
  open.disposition = dispositionToWire(options.disposition);
  checkMessage(() => SessionOpen.encode(open), ENVELOPE_BYTES);
  open.reader = await name({ end, signal });
  checkMessage(() => SessionOpen.encode(open), ENVELOPE_BYTES);
  const { stub, metadata, disconnect } = await bounded(connection.line(), rest());
  const conversation = new Conversation(stub.openSession(metadata), open, onQueuePosition, disconnect);
  const abort = () => signal && conversation.fail(aborted(signal, "UNKNOWN"));
  signal?.addEventListener("abort", abort);
  const forget = () => signal?.removeEventListener("abort", abort);
  conversation.ended.then(forget, forget);
  try {
    return new Session(conversation, await bounded(conversation.opened, rest()));
  } catch (error) {
    conversation.fail(deadlinePassed());
    throw error;
  }
}

function otherAnswer(): FailedError {
  return own(status.INTERNAL, "UNKNOWN", "the broker answered something else than was asked");
}
