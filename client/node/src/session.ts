/** Sessions: a card that belongs to this program for as long as the session's stream lives. */

import { type InspectOptions, inspect } from "node:util";

import { status } from "@grpc/grpc-js";

import { SessionEnd, SessionOpen, type SessionOpened, SessionTransmit } from "../gen/cardbroker/v1/session.js";
import { CardStart, TransmitResponse } from "../gen/cardbroker/v1/transmit.js";
import { answers } from "./answers.js";
import { bounded } from "./bounded.js";
import { type Command, checkLength, toWire } from "./command.js";
import type { Connection } from "./connection.js";
import { Conversation, MAX_PIPELINED, type Message, type Reply } from "./conversation.js";
import { CallError, aborted, deadlinePassed, notSent, ofStatus } from "./error.js";
import { type Transmitted, duration, milliseconds, transmittedOrStopped } from "./response.js";
import { CARD_TIME, DEFAULT_WAIT, MAX_DEADLINE } from "./transmit.js";

/** How to open a session. */
export interface SessionOptions {
  /** How long to wait for the turn, in ms, at most 24 h. Default: 30 s; 0 means now or never. */
  waitTimeout?: number;
  /** Wait, as long as `waitTimeout`, for a usable card instead of failing without one. */
  waitForCard?: boolean;
  /** Fail unless the card is still in this insertion (`Reader.insertionId`). */
  ifInsertionId?: string;
  /** Fail if anybody used or reset the card since (`Transmitted.stateTag`). */
  ifStateTag?: string;
  /** Reset the card (warm) before the session. */
  startReset?: boolean;
  /** How long the session may idle while others wait before the broker takes it away, in ms, 100–60,000. Default: 10 s. */
  idleTimeout?: number;
  /**
   * Leave the card as it is after `close`, unless the next caller belongs to another isolation group. Otherwise the card is
   * reset, as it always is after a session that was aborted.
   */
  leaveAtEnd?: boolean;
  /** Tells how many turns come before this one, now and whenever that changes, until the session is open. */
  onQueuePosition?: (turnsAhead: number) => void;
  /** Ends the session at once, open or not, as `abort` does. */
  signal?: AbortSignal;
}

/** How to run the commands of a session. */
export interface SessionTransmitOptions {
  /** Send the commands exactly as given and hand back every answer as it comes: no GET RESPONSE, no correction of Le. */
  raw?: boolean;
}

/** The room that the id, `restart` and their framing need in a message at most. */
const ENVELOPE_BYTES = 32;

/**
 * A card that belongs to this program, made by `Client.openSession`: no other program's command reaches it.
 *
 * **Order.** Several calls may be under way at once. They reach the card in the order in which they were made. At most 32 are
 * on their way; further ones wait in this program.
 *
 * **Failures.** A call that fails while `isOpen` leaves the session alive. What was sent behind it before its failure was told
 * fails as well, not sent (`PRECEDING_FAILED`); the first call after that goes on. `StoppedError` is no such failure: what was
 * sent behind it runs.
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

  /** Whether the card was reset since its user before. */
  get resetBeforeSession(): boolean {
    return this.#opened.resetBeforeUnit;
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
  async transmit(commands: Iterable<Command>, options: SessionTransmitOptions = {}): Promise<Transmitted> {
    const value = SessionTransmit.fromPartial({ raw: options.raw });
    value.commands = toWire(commands);
    checkLength(SessionTransmit.encode(value).finish().length + ENVELOPE_BYTES);
    const answer = await this.#ask({ $case: "transmit", value });
    if (answer.$case !== "transmitted") {
      throw otherAnswer();
    }
    const { results, stopped, cardDuration } = answer.value;
    const { insertionId } = this;
    return transmittedOrStopped({ ...TransmitResponse.create(), results, stopped, cardDuration, insertionId });
  }

  /**
   * Runs units one after the other, up to 32 of them on their way at once, and tells the outcome of each in their order. A
   * failure does not end the iteration, so that no answer that came is lost.
   */
  answers(
    units: Iterable<Iterable<Command>> | AsyncIterable<Iterable<Command>>,
    options: SessionTransmitOptions = {},
  ): AsyncGenerator<PromiseSettledResult<Transmitted>, void, void> {
    return answers(units, (commands) => this.transmit(commands, options), MAX_PIPELINED);
  }

  /**
   * Resets the card, by cutting its power if `cold`. Gives its new answer to reset, which may differ from the one before.
   */
  async reset({ cold = false }: { cold?: boolean } = {}): Promise<Buffer> {
    const answer = await this.#ask({ $case: "reset", value: { id: 0, cold } });
    if (answer.$case !== "resetDone") {
      throw otherAnswer();
    }
    return answer.value.atr;
  }

  /**
   * Ends the session in good order: what was sent is answered, then the card is reset, or left as it is if that was asked for.
   * Fulfilled when the broker says that this is done; rejected if the session had ended, or ends, otherwise.
   */
  close(): Promise<void> {
    return this.#conversation.close();
  }

  /** Ends the session at once: commands that wait are not sent, the one in flight runs to its end, and the card is reset. */
  abort(): void {
    this.#conversation.fail(new CallError("the session was aborted", { code: status.CANCELLED, delivery: "unknown" }));
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

  async #ask(message: Message): Promise<Exclude<Reply["response"], CallError>> {
    const { response, failureCount } = await this.#conversation.ask(message, this.#knownFailureCount);
    // Here and not where the answer comes in: now the caller is told.
    this.#knownFailureCount = Math.max(this.#knownFailureCount, failureCount);
    if (response instanceof CallError) {
      throw response;
    }
    return response;
  }
}

/** Waits for the turn and takes the card. No command is sent before. */
export async function openSession(connection: Connection, reader: string, options: SessionOptions): Promise<Session> {
  const { signal } = options;
  const wait = Math.min(options.waitTimeout ?? DEFAULT_WAIT, MAX_DEADLINE);
  // The card gets its time for a reset. A broker that is silent for longer is stuck.
  const limit = Math.min(wait + Math.max(CARD_TIME, wait / 8), MAX_DEADLINE);
  const open = SessionOpen.fromPartial({
    reader,
    waitTimeout: duration(wait),
    waitForCard: options.waitForCard,
    ifInsertionId: options.ifInsertionId,
    ifStateTag: options.ifStateTag,
    start: options.startReset ? CardStart.RESET : CardStart.UNSPECIFIED,
    idleTimeout: options.idleTimeout === undefined ? undefined : duration(options.idleTimeout),
    end: options.leaveAtEnd ? SessionEnd.LEAVE : SessionEnd.UNSPECIFIED,
  });
  const { stub, metadata } = await bounded(connection.line(), { limit, signal });
  const conversation = new Conversation(stub.openSession(metadata), open, options.onQueuePosition ?? (() => {}));
  const abort = () => signal && conversation.fail(aborted(signal, "unknown"));
  signal?.addEventListener("abort", abort);
  const forget = () => signal?.removeEventListener("abort", abort);
  conversation.ended.then(forget, forget);
  try {
    return new Session(conversation, await bounded(conversation.opened, { limit, signal }));
  } catch (error) {
    conversation.fail(deadlinePassed());
    throw notSent(error);
  }
}

function otherAnswer(): CallError {
  return ofStatus({ code: status.INTERNAL, details: "the broker answered something else than was asked" });
}
