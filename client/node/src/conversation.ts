/** Owns a session's stream: sends what callers ask for and hands each one its answer. */

import { type ClientDuplexStream, type StatusObject, status } from "@grpc/grpc-js";

import type {
  OpenSessionRequest,
  OpenSessionResponse,
  SessionOpen,
  SessionOpened,
  SessionReset,
  SessionTransmit,
} from "../gen/cardbroker/v1/session.js";
import { reset } from "./abrupt.js";
import { FailedError, lost, notSent, own } from "./error.js";
import { inBand, isUntold, ofStatus } from "./failure.js";
import { type Outcome, Pipeline } from "./pipeline.js";
import { CARD_TIME } from "./times.js";

/** The most messages of a session that may be unanswered. */
export const MAX_PIPELINED = 32;

/**
 * How long this client may be silent before it says that it is alive, in ms: a proxy may end a stream whose client is
 * silent.
 */
const HEARTBEAT_INTERVAL = 30_000;

/** How long the broker may be silent before the connection counts as lost, in ms: three of its heartbeats. */
export const SILENCE_LIMIT = 90_000;

/** A message for the broker; its id is given when it is sent. */
export type Message = { $case: "transmit"; value: SessionTransmit } | { $case: "reset"; value: SessionReset };

type Response = NonNullable<OpenSessionResponse["response"]>;

/** The answer to a message, and how many failures whoever gets it then knows of. */
export interface Reply {
  response: Extract<Response, { $case: "transmitted" | "resetDone" }> | FailedError;
  failureCount: number;
}

interface Waiter {
  answered(reply: Reply): void;
  failed(error: FailedError): void;
}

/** A message and what its sender knows and wishes. */
export interface Asked {
  message: Message;
  knownFailureCount: number;
  /** Whether to go on after a failure; `undefined` if the pipeline decides. */
  restart?: boolean | undefined;
}

interface Order extends Asked {
  waiter: Waiter;
}

/** From the first message of a stream to its end. */
export class Conversation {
  /** The broker's word that the session is open; rejected, not sent unless the broker says otherwise, if it is not. */
  readonly opened: Promise<SessionOpened>;
  /** Fulfilled when the stream has ended as it was asked to, rejected when it ended otherwise. */
  readonly ended: Promise<void>;

  readonly #stream: ClientDuplexStream<OpenSessionRequest, OpenSessionResponse>;
  readonly #onQueuePosition: (turnsAhead: number) => void;
  /** Ends the connection, where the stream alone cannot be ended abruptly. */
  readonly #disconnect: () => void;
  readonly #pipeline = new Pipeline<Waiter>();
  /** What waits in this program for one of the {@link MAX_PIPELINED} places: as much as its callers await. */
  readonly #orders: Order[] = [];
  #tellOpened!: (opened: SessionOpened) => void;
  /** Rejects `opened`. */
  #refuse!: (error: FailedError) => void;
  #tellEnded!: (error: FailedError | undefined) => void;
  #waiters = 0;
  #closing = false;
  #halfClosed = false;
  #patience: NodeJS.Timeout | undefined;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #silence: NodeJS.Timeout;
  #status: StatusObject | undefined;
  #drained = false;
  /** What callers are told after the end. */
  #end: FailedError | undefined;

  constructor(
    stream: ClientDuplexStream<OpenSessionRequest, OpenSessionResponse>,
    open: SessionOpen,
    onQueuePosition: (turnsAhead: number) => void,
    disconnect: () => void,
    heartbeatInterval = HEARTBEAT_INTERVAL,
    silenceLimit = SILENCE_LIMIT,
  ) {
    this.#stream = stream;
    this.#onQueuePosition = onQueuePosition;
    this.#disconnect = disconnect;
    this.ended = new Promise((resolve, reject) => {
      this.#tellEnded = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.opened = new Promise((resolve, reject) => {
      this.#tellOpened = resolve;
      const early = () => reject(notSent(lost("the broker ended the session before it was open")));
      this.ended.then(early, (error: FailedError) => reject(notSent(error)));
      this.#refuse = reject;
    });
    // Whoever cares awaits them.
    this.ended.catch(() => {});
    this.opened.catch(() => {});

    stream.on("data", (message: OpenSessionResponse) => this.#take(message));
    // Told again by the status.
    stream.on("error", () => {});
    // In this order or the other: a message may still be on its way to us when the status is known.
    stream.on("status", (status: StatusObject) => {
      this.#status = status;
      this.#endIfOver();
    });
    stream.on("end", () => {
      this.#drained = true;
      this.#endIfOver();
    });
    this.#heartbeat = setTimeout(() => this.#beat(), heartbeatInterval);
    // Once the answers are all here nobody has to stay for it.
    this.#heartbeat.unref();
    this.#silence = setTimeout(() => this.fail(lost("the broker is silent")), silenceLimit);
    this.#silence.unref();
    this.#write({ request: { $case: "open", value: open }, restart: false });
  }

  /** How many callers wait for the card, as last told by the broker. */
  get waiters(): number {
    return this.#waiters;
  }

  get isOpen(): boolean {
    return this.#end === undefined && !this.#closing;
  }

  /** Sends a message as soon as there is a place for it. */
  ask(asked: Asked): Promise<Reply> {
    if (!this.isOpen) {
      return Promise.reject(this.#end ?? closed());
    }
    return new Promise((answered, failed) => {
      this.#orders.push({ ...asked, waiter: { answered, failed } });
      this.#proceed();
    });
  }

  /** Half-closes when all that was asked is sent; the broker then ends the stream. */
  close(): Promise<void> {
    this.#closing = true;
    this.#proceed();
    return this.ended;
  }

  /** Resets the stream. Callers get `error`. */
  fail(error: FailedError): void {
    this.#over(error);
    if (!this.#status) {
      reset(this.#stream, this.#disconnect);
    }
  }

  #write(message: OpenSessionRequest): void {
    this.#stream.write(message);
    this.#heartbeat.refresh();
  }

  #beat(): void {
    if (this.#end === undefined && !this.#halfClosed) {
      this.#write({ request: { $case: "heartbeat", value: { sendTime: new Date() } }, restart: false });
    }
  }

  #proceed(): void {
    while (this.#end === undefined && this.#pipeline.length < MAX_PIPELINED) {
      const order = this.#orders.shift();
      if (!order) {
        break;
      }
      const { id, restart } = this.#pipeline.send(order.knownFailureCount, order.waiter, order.restart);
      order.message.value.id = id;
      this.#write({ request: order.message, restart });
    }
    if (this.#end !== undefined || !this.#closing || this.#orders.length > 0) {
      return;
    }
    if (!this.#halfClosed) {
      this.#halfClosed = true;
      this.#stream.end();
    }
    if (this.#pipeline.length === 0) {
      this.#patience ??= setTimeout(() => this.fail(lost("the broker does not end the session")), CARD_TIME);
    }
  }

  #take({ response }: OpenSessionResponse): void {
    this.#silence.refresh();
    switch (response?.$case) {
      case "queuePosition":
        this.#onQueuePosition(response.value.turnsAheadCount);
        break;
      case "opened":
        this.#tellOpened(response.value);
        break;
      case "waiters":
        this.#waiters = response.value.callerCount;
        break;
      case "failed": {
        const { id, failure } = response.value;
        const error = new FailedError(inBand(failure));
        this.#answer(id, error.reason === "PRECEDING_FAILED" ? "preceding_failed" : "failed", error);
        break;
      }
      case "transmitted":
      case "resetDone":
        this.#answer(response.value.id, "done", response);
        break;
      case "heartbeat":
      case undefined:
        break;
    }
  }

  #answer(id: number, outcome: Outcome, response: Reply["response"]): void {
    const answered = this.#pipeline.answer(id, outcome);
    if (!answered) {
      this.fail(own(status.INTERNAL, "UNKNOWN", "the broker answered out of order"));
      return;
    }
    answered.waiter.answered({ response, failureCount: answered.failureCount });
    this.#proceed();
  }

  #endIfOver(): void {
    if (!this.#status || !this.#drained) {
      return;
    }
    const asked = this.#halfClosed && this.#pipeline.length === 0;
    if (this.#status.code !== status.OK) {
      // The broker's word counts as it is, and concerns what it has not answered. Usually that is NOT_SENT.
      const error = ofStatus(this.#status);
      if (!isUntold(error)) {
        this.#refuse(error);
      }
      this.#over(error);
    } else {
      this.#over(asked ? undefined : lost("the broker ended the session"));
    }
  }

  #over(error: FailedError | undefined): void {
    if (this.#end !== undefined) {
      return;
    }
    clearTimeout(this.#patience);
    clearTimeout(this.#heartbeat);
    clearTimeout(this.#silence);
    const later = error ? notSent(error) : closed();
    this.#end = later;
    const unanswered = this.#pipeline.drain();
    for (const waiter of unanswered) {
      waiter.failed(error ?? later);
    }
    for (const { waiter } of this.#orders.splice(0)) {
      waiter.failed(later);
    }
    this.#tellEnded(error && (unanswered.length > 0 ? error : later));
  }
}

function closed(): FailedError {
  return own(status.CANCELLED, "NOT_SENT", "the session was closed");
}
