/** Owns a session's stream: sends what callers ask for and hands each one its answer. */

import { type ClientDuplexStream, type StatusObject, status } from "@grpc/grpc-js";

import { ErrorReason } from "../gen/cardbroker/v1/error.js";
import type {
  OpenSessionRequest,
  OpenSessionResponse,
  SessionOpen,
  SessionOpened,
  SessionReset,
  SessionTransmit,
} from "../gen/cardbroker/v1/session.js";
import { cancel } from "./call.js";
import { CallError, lost, notSent, ofStatus } from "./error.js";
import { type Outcome, Pipeline } from "./pipeline.js";
import { ofFailure } from "./response.js";
import { CARD_TIME } from "./transmit.js";

/** The most messages of a session that may be unanswered. */
export const MAX_PIPELINED = 32;

/** A message for the broker; its id is given when it is sent. */
export type Message = { $case: "transmit"; value: SessionTransmit } | { $case: "reset"; value: SessionReset };

type Response = NonNullable<OpenSessionResponse["response"]>;

/** The answer to a message, and how many failures whoever gets it then knows of. */
export interface Reply {
  response: Extract<Response, { $case: "transmitted" | "resetDone" }> | CallError;
  failureCount: number;
}

interface Waiter {
  answered(reply: Reply): void;
  failed(error: CallError): void;
}

interface Order {
  message: Message;
  knownFailureCount: number;
  waiter: Waiter;
}

/** From the first message of a stream to its end. */
export class Conversation {
  /** The broker's word that the session is open. */
  readonly opened: Promise<SessionOpened>;
  /** Fulfilled when the stream has ended as it was asked to, rejected when it ended otherwise. */
  readonly ended: Promise<void>;

  readonly #stream: ClientDuplexStream<OpenSessionRequest, OpenSessionResponse>;
  readonly #onQueuePosition: (turnsAhead: number) => void;
  readonly #pipeline = new Pipeline<Waiter>();
  /** What waits in this program for one of the {@link MAX_PIPELINED} places: as much as its callers await. */
  readonly #orders: Order[] = [];
  #tellOpened!: (opened: SessionOpened) => void;
  #tellEnded!: (error: CallError | undefined) => void;
  #waiters = 0;
  #closing = false;
  #halfClosed = false;
  #patience: NodeJS.Timeout | undefined;
  #status: StatusObject | undefined;
  #drained = false;
  /** What callers are told after the end. */
  #end: CallError | undefined;

  constructor(
    stream: ClientDuplexStream<OpenSessionRequest, OpenSessionResponse>,
    open: SessionOpen,
    onQueuePosition: (turnsAhead: number) => void,
  ) {
    this.#stream = stream;
    this.#onQueuePosition = onQueuePosition;
    this.ended = new Promise((resolve, reject) => {
      this.#tellEnded = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.opened = new Promise((resolve, reject) => {
      this.#tellOpened = resolve;
      const early = () => reject(lost("the broker ended the session before it was open"));
      this.ended.then(early, reject);
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
    stream.write({ request: { $case: "open", value: open }, restart: false });
  }

  /** How many callers wait for the card, as last told by the broker. */
  get waiters(): number {
    return this.#waiters;
  }

  get isOpen(): boolean {
    return this.#end === undefined && !this.#closing;
  }

  /** Sends a message of somebody who knows of so many failures, as soon as there is a place for it. */
  ask(message: Message, knownFailureCount: number): Promise<Reply> {
    if (!this.isOpen) {
      return Promise.reject(this.#end ?? closed());
    }
    return new Promise((answered, failed) => {
      this.#orders.push({ message, knownFailureCount, waiter: { answered, failed } });
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
  fail(error: CallError): void {
    this.#over(error);
    cancel(this.#stream);
  }

  #proceed(): void {
    while (this.#end === undefined && this.#pipeline.length < MAX_PIPELINED) {
      const order = this.#orders.shift();
      if (!order) {
        break;
      }
      const { id, restart } = this.#pipeline.send(order.knownFailureCount, order.waiter);
      order.message.value.id = id;
      this.#stream.write({ request: order.message, restart });
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
      case "failure": {
        const failure = response.value;
        const preceding = failure.reason === ErrorReason.PRECEDING_FAILED;
        this.#answer(failure.id, preceding ? "preceding_failed" : "failed", ofFailure(failure));
        break;
      }
      case "transmitted":
      case "resetDone":
        this.#answer(response.value.id, "done", response);
        break;
    }
  }

  #answer(id: number, outcome: Outcome, response: Reply["response"]): void {
    const answered = this.#pipeline.answer(id, outcome);
    if (!answered) {
      this.fail(ofStatus({ code: status.INTERNAL, details: "the broker answered out of order" }));
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
      this.#over(ofStatus(this.#status));
    } else {
      this.#over(asked ? undefined : lost("the broker ended the session"));
    }
  }

  #over(error: CallError | undefined): void {
    if (this.#end !== undefined) {
      return;
    }
    clearTimeout(this.#patience);
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

function closed(): CallError {
  return new CallError("the session was closed", { code: status.CANCELLED, delivery: "not_sent" });
}
