/** Sessions: a lease on a card that lasts as long as the session's stream. */

import { type InspectOptions, inspect } from "node:util";

import { status } from "@grpc/grpc-js";

import { SessionOpen, type SessionOpened, SessionTransmit } from "../gen/cardbroker/v1/session.js";
import { TransmitResponse } from "../gen/cardbroker/v1/transmit.js";
import { CardReset as WireReset } from "../gen/cardbroker/v1/turn.js";
import { answers } from "./answers.js";
import { bounded } from "./bounded.js";
import { now } from "./clock.js";
import { type Command, checkMessage, toWire } from "./command.js";
import type { Connection } from "./connection.js";
import { Conversation, MAX_PIPELINED, type Message, type Reply } from "./conversation.js";
import { FailedError, aborted, deadlinePassed, own } from "./error.js";
import { fromWord, toDuration } from "./input.js";
import type { TimeLimits } from "./query.js";
import { type Transmitted, transmittedOrStopped } from "./response.js";
import { callLimit, milliseconds } from "./times.js";
import { type CardReset, type Disposition, type TurnOptions, dispositionToWire, turnToWire } from "./turn.js";

/** The options of {@link Client.openSession}. */
export interface SessionOptions extends TurnOptions {
  /**
   * The idle time, in ms, 100–60,000, after which the broker revokes the lease while others wait. Default: 10 s.
   */
  idleTimeout?: number;
  /**
   * The treatment of the card after `close`. Default: `RESET`; `LEAVE` needs the permission `leave`. Any other end of
   * the session resets the card.
   */
  disposition?: Disposition;
  /** Receives the estimated number of turns ahead, at once and after each change, until the session is open. */
  onQueuePosition?: (turnsAhead: number) => void;
  /** Ends the session at once, before or after its opening, as `abort` does. */
  signal?: AbortSignal;
}

/** The options of a message of a session. */
export interface SessionMessageOptions {
  /**
   * Whether the message runs after a failed message before it. Default: only if that failure has reached the caller.
   */
  restart?: boolean;
}

/** The largest size of the id, `restart` and their framing in a message, in bytes. */
const ENVELOPE_BYTES = 32;

/**
 * An exclusive lease on a card, made by `Client.openSession`: no command of another caller reaches the card.
 *
 * **Order.** Calls may overlap and reach the card in the order in which they were made. At most 32 are unanswered;
 * further calls wait in this program.
 *
 * **Failures.** After a failed call with `isOpen` still true the session remains usable. Messages already sent behind
 * the failed one fail too (`NOT_SENT`, `PRECEDING_FAILED`); the first call after the failure has reached the caller
 * runs. `StoppedError` is not such a failure: the messages behind it run.
 *
 * **End.** `close`, or the end of the block of an `await using`, ends it in order. `abort` ends it at once.
 */
export class Session {
  readonly #conversation: Conversation;
  readonly #opened: SessionOpened;
  /** The count of failures that callers have received. */
  #knownFailureCount = 0;

  /** For use by {@link openSession} only. */
  constructor(conversation: Conversation, opened: SessionOpened) {
    this.#conversation = conversation;
    this.#opened = opened;
  }

  /** The insertion at the session's opening. */
  get insertionId(): string {
    return this.#opened.insertionId;
  }

  /** The state tag at the start of the session. */
  get stateTag(): string {
    return this.#opened.stateTag;
  }

  /** The card's answer to reset at the start of the session. */
  get atr(): Buffer {
    return this.#opened.atr;
  }

  /** The time that the session waited for its turn, in ms. */
  get queueDuration(): number {
    return milliseconds(this.#opened.queueDuration);
  }

  /** Whether the card was reset between the previous turn and this one, or at the start of this one. */
  get wasReset(): boolean {
    return this.#opened.wasReset;
  }

  /** The number of callers that wait for the card, as last reported by the broker. */
  get waiters(): number {
    return this.#conversation.waiters;
  }

  /** Whether calls can still succeed, as far as this program knows. */
  get isOpen(): boolean {
    return this.#conversation.isOpen;
  }

  /**
   * Runs commands, 1–64, in order up to the first stop. No command of another call runs between them.
   *
   * @throws {@link StoppedError} if the commands ended early; {@link FailedError} if none ran or the answer did not
   * arrive; {@link InvalidError} if this package refuses the request.
   */
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
   * Runs units one after the other, up to 32 of them unanswered, and yields the outcome of each in their order. A
   * failure does not end the iteration, so that no answer is lost.
   */
  answers(
    units: Iterable<Iterable<Command>> | AsyncIterable<Iterable<Command>>,
    options: SessionMessageOptions = {},
  ): AsyncGenerator<PromiseSettledResult<Transmitted>, void, void> {
    return answers(units, (commands) => this.transmit(commands, options), MAX_PIPELINED);
  }

  /**
   * Resets the card. Returns its new answer to reset, 2–33 bytes, which may differ from the last one.
   *
   * @throws {@link FailedError} if the card was not reset or the answer did not arrive.
   */
  async reset(reset: Exclude<CardReset, "NONE"> = "WARM", options: SessionMessageOptions = {}): Promise<Buffer> {
    const value = { id: 0, reset: fromWord(WireReset, reset, "reset") };
    const answer = await this.#ask({ $case: "reset", value }, options);
    if (answer.$case !== "resetDone") {
      throw otherAnswer();
    }
    return answer.value.atr;
  }

  /**
   * Ends the session in order: sent messages are answered, then the card is treated by `disposition`. Fulfilled when
   * the broker has confirmed it.
   *
   * @throws {@link FailedError} if the session ended in another way.
   */
  close(): Promise<void> {
    return this.#conversation.close();
  }

  /**
   * Ends the session at once: waiting commands are not sent, the running command finishes, and the card is reset.
   */
  abort(): void {
    this.#conversation.fail(own(status.CANCELLED, "UNKNOWN", "the session was aborted"));
  }

  /** Closes the session, unless it has ended already; its calls have reported that end. */
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
    // Here, not at the arrival of the answer: only now the caller receives the failure.
    this.#knownFailureCount = Math.max(this.#knownFailureCount, failureCount);
    if (response instanceof FailedError) {
      throw response;
    }
    return response;
  }
}

/** Waits for the turn and takes the lease. Every failure is `NOT_SENT`. */
export async function openSession(
  connection: Connection,
  name: (limits: TimeLimits) => Promise<string>,
  options: SessionOptions,
): Promise<Session> {
  const { signal, waitTimeout, idleTimeout, onQueuePosition = () => {} } = options;
  // Includes the time for a reset of the card. A broker without an answer for longer is stuck.
  const end = now() + callLimit(waitTimeout);
  const rest = () => ({ limit: Math.max(0, end - now()), signal });
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
  return own(status.INTERNAL, "UNKNOWN", "the broker sent another answer than the request needs");
}
