/** What can go wrong, as types: every error says whether a command may have reached the card. */

import { status } from "@grpc/grpc-js";

import type {
  Delivery as WireDelivery,
  RevocationCause as WireCause,
  ErrorReason as WireReason,
} from "../gen/cardbroker/v1/error.js";
import type { Word } from "./words.js";

/**
 * Whether a command may have reached the card. After `NOT_SENT` repeat as you like. After `UNKNOWN` check the card's
 * state first. `EXECUTED`: the command ran and its answer is missing; a repeat with the same `requestId` is told the
 * same.
 */
export type Delivery = Word<typeof WireDelivery>;

/** The broker's reasons, as `error.proto` explains them. */
export type ErrorReason = Word<typeof WireReason>;

/** Why the broker has ended a session. */
export type RevocationCause = Word<typeof WireCause>;

/** A field of a request that breaks a rule of the contract. */
export interface FieldViolation {
  /** The field's path in the request: `commands[3].apdu.bytes`. */
  readonly field: string;
  /** The rule that it breaks, for people. */
  readonly description: string;
}

/** All that is known of a failure. */
export interface Failure {
  /**
   * The broker's reason; `INVALID_REQUEST` also if this package refused. Absent otherwise without the broker's word. A reason that is newer than this client is its
   * number, or another name.
   */
  readonly reason?: ErrorReason | (string & {}) | number;
  /** Whether a command may have reached the card: the one that the failure concerns, and those after it. */
  readonly delivery: Delivery;
  /** The gRPC status code (google.rpc.Code), 1–16; absent if the broker gave none. */
  readonly code?: number;
  /** What happened and what to do next, for people: one line. */
  readonly message: string;
  /** How long to wait before a retry, in ms. Present only where nothing was sent and waiting helps. */
  readonly retryAfter?: number;
  /** The name of the policy's rule that forbids the request, or has ended the session. */
  readonly rule?: string;
  /**
   * Why the broker has ended the session, with `LEASE_REVOKED` only; a cause that is newer than this client is its
   * number.
   */
  readonly cause?: RevocationCause | number;
  /** The fields of the request that break a rule of the contract; empty unless the reason is `INVALID_REQUEST`. */
  readonly fieldViolations: readonly FieldViolation[];
  /** The reader that is concerned, `readers/{id}`. */
  readonly reader?: string;
}

/** What kind of failure an error is; each has its type. */
export type ErrorKind = "not_running" | "invalid" | "failed" | "stopped";

/** Codes of requests that fail again however often they are repeated. */
const PERMANENT: readonly number[] = [
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.UNIMPLEMENTED,
];

/** Any failure of this package. No text or JSON of it holds an APDU byte. */
export abstract class CardbrokerError extends Error {
  /** All that is known of the failure, as it was told. */
  readonly failure: Failure;

  protected constructor(
    /** What kind of failure it is. */
    readonly kind: ErrorKind,
    failure: Failure,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.failure = failure;
  }

  override get name(): string {
    return this.constructor.name;
  }

  /** See {@link Failure.reason}. */
  get reason(): Failure["reason"] {
    return this.failure.reason;
  }

  /** See {@link Failure.delivery}. */
  get delivery(): Delivery {
    return this.failure.delivery;
  }

  /** See {@link Failure.code}. */
  get code(): number | undefined {
    return this.failure.code;
  }

  /** See {@link Failure.retryAfter}; in ms. */
  get retryAfter(): number | undefined {
    return this.failure.retryAfter;
  }

  /** See {@link Failure.rule}. */
  get rule(): string | undefined {
    return this.failure.rule;
  }

  /** See {@link Failure.cause}; `cause` is what JavaScript calls so. */
  get revocationCause(): Failure["cause"] {
    return this.failure.cause;
  }

  /** See {@link Failure.fieldViolations}. */
  get fieldViolations(): readonly FieldViolation[] {
    return this.failure.fieldViolations;
  }

  /** See {@link Failure.reader}. */
  get reader(): string | undefined {
    return this.failure.reader;
  }

  /** Whether the same request will fail again however often it is repeated. */
  get isPermanent(): boolean {
    return this.code !== undefined && PERMANENT.includes(this.code);
  }

  /** For logs: without the answers that came before a unit stopped. */
  toJSON(): object {
    const { name, message, kind, isPermanent } = this;
    return { name, kind, ...this.failure, message, isPermanent };
  }
}

/** Nobody answers at the endpoint, or this user may not open it. Nothing was sent. */
export class NotRunningError extends CardbrokerError {
  constructor(
    /** Where the broker was sought. */
    readonly endpoint: string,
    /** What the operating system says: `ENOENT`, `EACCES`; absent on TCP. */
    readonly systemError?: string,
  ) {
    const message = notRunning(endpoint, systemError);
    super("not_running", { ...NOT_SENT, code: status.UNAVAILABLE, message }, message);
  }
}

/** What the caller gave is of no use: noticed before anything was sent. */
export class InvalidError extends CardbrokerError {
  constructor(
    /** The field's path in the request, or the option's name: `commands[3].apdu.bytes`. */
    field: string,
    message: string,
  ) {
    const reason = "INVALID_REQUEST";
    const fieldViolations = [{ field, description: message }];
    super(
      "invalid",
      { reason, delivery: "NOT_SENT", code: status.INVALID_ARGUMENT, message, fieldViolations },
      message,
    );
  }
}

/** The broker refused or failed, or its answer did not arrive. No answer of a card is known. */
export class FailedError extends CardbrokerError {
  constructor(failure: Failure, options?: ErrorOptions) {
    super("failed", failure, failure.message, options);
  }
}

const NOT_SENT = { delivery: "NOT_SENT", fieldViolations: [] } as const;

/** Makes the error for something that is of no use, noticed before anything was sent. */
export function invalid(field: string, message: string): InvalidError {
  return new InvalidError(field, message);
}

/** The same failure, told to somebody whose commands did not leave this program. */
export function notSent<E>(error: E): E | FailedError {
  if (!(error instanceof FailedError) || error.delivery === "NOT_SENT") {
    return error;
  }
  const { failure, cause } = error;
  return new FailedError({ ...failure, delivery: "NOT_SENT" }, cause === undefined ? undefined : { cause });
}

/** A failure that this client noticed by itself. */
export function own(code: status, delivery: Delivery, message: string, options?: ErrorOptions): FailedError {
  return new FailedError({ code, delivery, message, fieldViolations: [] }, options);
}

/** The end of a connection that this client noticed. */
export function lost(details: string): FailedError {
  return own(status.UNAVAILABLE, "UNKNOWN", `the connection to the broker was lost (${details})`);
}

/** The call outlived its deadline. */
export function deadlinePassed(): FailedError {
  return own(status.DEADLINE_EXCEEDED, "UNKNOWN", "the call's deadline passed without an answer");
}

/** The caller's signal ended the call. */
export function aborted(signal: AbortSignal, delivery: Delivery): FailedError {
  return own(status.CANCELLED, delivery, "the call was aborted", { cause: signal.reason });
}

function notRunning(endpoint: string, systemError: string | undefined): string {
  switch (systemError) {
    case "EACCES":
    case "EPERM":
      return `no permission to open ${endpoint}`;
    case undefined:
    case "ENOENT":
    case "ECONNREFUSED":
      return `no broker at ${endpoint}`;
    default:
      return `no broker at ${endpoint} (${systemError})`;
  }
}
