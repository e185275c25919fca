/** Owns a session's stream: sends the messages of callers and gives each caller its answer. */

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
import { inBand, isUnreported, ofStatus } from "./failure.js";
import { type Outcome, Pipeline } from "./pipeline.js";
import { CARD_TIME } from "./times.js";

/** The largest number of unanswered messages in a session. */
export const MAX_PIPELINED = 32;

/**
 * The pause after the last message before the client sends a heartbeat, in ms: a proxy may end a stream with a silent
 * client.
 */
const HEARTBEAT_INTERVAL = 30_000;

/** The silence of the broker after which the connection counts as lost, in ms: three of its heartbeats. */
export const SILENCE_LIMIT = 90_000;

/** A message for the broker; it gets its id when it is sent. */
export type Message = { $case: "transmit"; value: SessionTransmit } | { $case: "reset"; value: SessionReset };

type Response = NonNullable<OpenSessionResponse["response"]>;

/** The answer to a message, and the failure count that its receiver knows of. */
export interface Reply {
  response: Extract<Response, { $case: "transmitted" | "resetDone" }> | FailedError;
  failureCount: number;
}

interface Waiter {
  answered(reply: Reply): void;
  failed(error: FailedError): void;
}

/** A message with its sender's knowledge of failures and choice of `restart`. */
export interface Asked {
  message: Message;
  knownFailureCount: number;
  /** Whether the message runs after a failure; `undefined`: the pipeline decides. */
  restart?: boolean | undefined;
}

interface Order extends Asked {
  waiter: Waiter;
}

/** The conversation on one stream, from its first message to its end. */
export class Conversation {
  /** Fulfilled when the session is open; otherwise rejected, as `NOT_SENT` unless the broker reported a delivery. */
  readonly opened: Promise<SessionOpened>;
  /** Fulfilled when the stream has ended after `close`, rejected when it ended in another way. */
  readonly ended: Promise<void>;

  readonly #stream: ClientDuplexStream<OpenSessionRequest, OpenSessionResponse>;
  readonly #onQueuePosition: (turnsAhead: number) => void;
  /** Ends the connection if the stream alone cannot be ended abruptly. */
  readonly #disconnect: () => void;
  readonly #pipeline = new Pipeline<Waiter>();
  /** Messages that wait in this program while {@link MAX_PIPELINED} are unanswered; without a limit. */
  readonly #orders: Order[] = [];
  #resolveOpened!: (opened: SessionOpened) => void;
  /** Rejects {@link opened}; no effect after the opening. */
  #refuse!: (error: FailedError) => void;
  #settleEnded!: (error: FailedError | undefined) => void;
  #waiters = 0;
  #closing = false;
  #halfClosed = false;
  #closeTimer: NodeJS.Timeout | undefined;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #silence: NodeJS.Timeout;
  #status: StatusObject | undefined;
  #drained = false;
  /** The failure of every call after the end. */
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
      this.#settleEnded = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve;
      const early = () => reject(notSent(lost("the broker ended the session before it was open")));
      this.ended.then(early, (error: FailedError) => reject(notSent(error)));
      this.#refuse = reject;
    });
    // Callers await these; a rejection without a caller is no error.
    this.ended.catch(() => {});
    this.opened.catch(() => {});

    stream.on("data", (message: OpenSessionResponse) => this.#take(message));
    // The status reports the same error.
    stream.on("error", () => {});
    // The two events come in any order: a message may arrive after the status.
    stream.on("status", (status: StatusObject) => {
      this.#status = status;
      this.#endIfOver();
    });
    stream.on("end", () => {
      this.#drained = true;
      this.#endIfOver();
    });
    this.#heartbeat = setTimeout(() => this.#beat(), heartbeatInterval);
    // The timers must not keep the program alive after all answers have arrived.
    this.#heartbeat.unref();
    this.#silence = setTimeout(() => this.fail(lost("the broker is silent")), silenceLimit);
    this.#silence.unref();
    this.#write({ request: { $case: "open", value: open }, restart: false });
  }

  /** The number of callers that wait for the card, as last reported by the broker. */
  get waiters(): number {
    return this.#waiters;
  }

  get isOpen(): boolean {
    return this.#end === undefined && !this.#closing;
  }

  /** Sends a message as soon as fewer than {@link MAX_PIPELINED} are unanswered. */
  ask(asked: Asked): Promise<Reply> {
    if (!this.isOpen) {
      return Promise.reject(this.#end ?? closed());
    }
    return new Promise((answered, failed) => {
      this.#orders.push({ ...asked, waiter: { answered, failed } });
      this.#proceed();
    });
  }

  /** Half-closes when all messages are sent; the broker then ends the stream. */
  close(): Promise<void> {
    this.#closing = true;
    this.#proceed();
    return this.ended;
  }

  /** Resets the stream; all waiting callers fail with `error`. */
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
      this.#closeTimer ??= setTimeout(() => this.fail(lost("the broker did not end the session in time")), CARD_TIME);
    }
  }

  #take({ response }: OpenSessionResponse): void {
    this.#silence.refresh();
    switch (response?.$case) {
      case "queuePosition":
        this.#onQueuePosition(response.value.turnsAheadCount);
        break;
      case "opened":
        this.#resolveOpened(response.value);
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
      // A failure from the broker keeps its delivery, usually NOT_SENT, for all unanswered messages.
      const error = ofStatus(this.#status);
      if (!isUnreported(error)) {
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
    clearTimeout(this.#closeTimer);
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
    this.#settleEnded(error && (unanswered.length > 0 ? error : later));
  }
}

function closed(): FailedError {
  return own(status.CANCELLED, "NOT_SENT", "the session was closed");
}
