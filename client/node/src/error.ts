/** The errors of this package: each has a delivery and most have a reason. */

import { status } from "@grpc/grpc-js";

import type {
  Delivery as WireDelivery,
  RevocationCause as WireCause,
  ErrorReason as WireReason,
} from "../gen/cardbroker/v1/error.js";
import type { Finding } from "./places.js";
import type { Word } from "./words.js";

/**
 * Whether a command may have reached the card. `NOT_SENT`: a repeat is safe. `UNKNOWN`: check the card's state before a
 * repeat. `EXECUTED`: the command ran and its answer is lost; a repeat with the same `requestId` gets the same failure.
 */
export type Delivery = Word<typeof WireDelivery>;

/** The reasons of `error.proto`, without their prefix. */
export type ErrorReason = Word<typeof WireReason>;

/** The causes for which the broker revokes a lease. */
export type RevocationCause = Word<typeof WireCause>;

/** A field of a request that breaks a rule of the contract. */
export interface FieldViolation {
  /** The field's path in the request: `commands[3].apdu.bytes`. */
  readonly field: string;
  /** The broken rule, for people. */
  readonly description: string;
}

/** The details of a failure. */
export interface Failure {
  /**
   * The broker's reason, or `INVALID_REQUEST` if this package refused the request; absent if the failure comes from
   * elsewhere. A reason newer than this client is its number, or another name.
   */
  readonly reason?: ErrorReason | (string & {}) | number;
  /** Whether the failed command, or one after it, may have reached the card. */
  readonly delivery: Delivery;
  /** The gRPC status code (google.rpc.Code), 1–16; absent if the broker gave none. */
  readonly code?: number;
  /** The problem and the next step, for people, in one line. */
  readonly message: string;
  /** The pause before a retry, in ms. Present only if nothing was sent and a pause helps. */
  readonly retryAfter?: number;
  /** The name of the policy rule that denies the request or ended the session. */
  readonly rule?: string;
  /**
   * The cause of the revocation, with `LEASE_REVOKED` only; a cause newer than this client is its number.
   */
  readonly cause?: RevocationCause | number;
  /** The fields of the request that break a rule of the contract; empty unless the reason is `INVALID_REQUEST`. */
  readonly fieldViolations: readonly FieldViolation[];
  /** The reader concerned: `readers/{id}`. */
  readonly reader?: string;
  /**
   * The number of tries that the card has left for the PIN, 1–255; with `PIN_KNOWN_WRONG`, if the card has reported a
   * number, and `PIN_LAST_TRY` only.
   */
  readonly triesLeft?: number;
}

/** The kinds of errors; each has its own class. */
export type ErrorKind = "not_running" | "invalid" | "failed" | "stopped";

/** Status codes after which every repeat of the same request fails again. */
const PERMANENT: readonly number[] = [
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.UNIMPLEMENTED,
];

/** The base of all errors of this package. No text or JSON of it contains an APDU byte. */
export abstract class CardbrokerError extends Error {
  /** All details of the failure. */
  readonly failure: Failure;

  protected constructor(
    /** The kind of the error, one for each class. */
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

  /** The broker's reason. See {@link Failure.reason}. */
  get reason(): Failure["reason"] {
    return this.failure.reason;
  }

  /** Whether a command may have reached the card. See {@link Failure.delivery}. */
  get delivery(): Delivery {
    return this.failure.delivery;
  }

  /** The gRPC status code. See {@link Failure.code}. */
  get code(): number | undefined {
    return this.failure.code;
  }

  /** The pause before a retry, in ms. See {@link Failure.retryAfter}. */
  get retryAfter(): number | undefined {
    return this.failure.retryAfter;
  }

  /** The policy rule that denies the request. See {@link Failure.rule}. */
  get rule(): string | undefined {
    return this.failure.rule;
  }

  /** See {@link Failure.cause}; the property `cause` of an `Error` has another meaning. */
  get revocationCause(): Failure["cause"] {
    return this.failure.cause;
  }

  /** The fields that break the contract. See {@link Failure.fieldViolations}. */
  get fieldViolations(): readonly FieldViolation[] {
    return this.failure.fieldViolations;
  }

  /** The reader concerned: `readers/{id}`. See {@link Failure.reader}. */
  get reader(): string | undefined {
    return this.failure.reader;
  }

  /** The tries that the card has left for a withheld PIN, if they are known. See {@link Failure.triesLeft}. */
  get triesLeft(): number | undefined {
    return this.failure.triesLeft;
  }

  /** Whether every repeat of the same request fails again. */
  get isPermanent(): boolean {
    return this.code !== undefined && PERMANENT.includes(this.code);
  }

  /** The details for logs, without the answers of a stopped unit. */
  toJSON(): object {
    const { name, message, kind, isPermanent } = this;
    return { name, kind, ...this.failure, message, isPermanent };
  }
}

/** A place at which a client looked for the broker in vain. */
export interface TriedEndpoint {
  /** The endpoint: `unix:/path`, `https://HOST:PORT` or `http://HOST:PORT`. */
  readonly endpoint: string;
  /** Why there is no connection to it. */
  readonly finding: Finding;
}

/**
 * No broker answers, or this user may not open its socket or cannot trust it, or another program than the broker of the
 * token file answers. Nothing was sent.
 */
export class NotRunningError extends CardbrokerError {
  /** What ended the search for a broker. */
  readonly finding: Finding;
  /** The endpoint that was tried last. */
  readonly endpoint: string;
  /** The operating system's error code: `ENOENT`, `EACCES`; absent if the system reported none. */
  readonly systemError?: string;

  constructor(
    /** The named endpoint, or the default places in their order up to the one that ended the search. */
    readonly tried: readonly TriedEndpoint[],
  ) {
    const message = notRunning(tried);
    super("not_running", { ...NOT_SENT, code: status.UNAVAILABLE, message }, message);
    const last = tried[tried.length - 1] as TriedEndpoint;
    this.finding = last.finding;
    this.endpoint = last.endpoint;
    this.systemError = last.finding.systemError;
  }
}

/** A request that this package refused before it sent anything. */
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

/** The broker refused or failed, or its answer did not arrive; no card answer is known. */
export class FailedError extends CardbrokerError {
  constructor(failure: Failure, options?: ErrorOptions) {
    super("failed", failure, failure.message, options);
  }
}

const NOT_SENT = { delivery: "NOT_SENT", fieldViolations: [] } as const;

/** Makes the error for an invalid field or option. */
export function invalid(field: string, message: string): InvalidError {
  return new InvalidError(field, message);
}

/** A copy with `NOT_SENT`, for a caller whose commands did not leave this program. */
export function notSent<E>(error: E): E | FailedError {
  if (!(error instanceof FailedError) || error.delivery === "NOT_SENT") {
    return error;
  }
  const { failure, cause } = error;
  return new FailedError({ ...failure, delivery: "NOT_SENT" }, cause === undefined ? undefined : { cause });
}

/** A failure that this client detected itself. */
export function own(code: status, delivery: Delivery, message: string, options?: ErrorOptions): FailedError {
  return new FailedError({ code, delivery, message, fieldViolations: [] }, options);
}

/** The failure for a lost connection. */
export function lost(details: string): FailedError {
  return own(status.UNAVAILABLE, "UNKNOWN", `the connection to the broker was lost (${details})`);
}

/** The failure for a deadline that passed during the call. */
export function deadlinePassed(): FailedError {
  return own(status.DEADLINE_EXCEEDED, "UNKNOWN", "the call's deadline passed without an answer");
}

/** The failure for a call that its caller's signal ended. */
export function aborted(signal: AbortSignal, delivery: Delivery): FailedError {
  return own(status.CANCELLED, delivery, "the call was aborted", { cause: signal.reason });
}

function notRunning(tried: readonly TriedEndpoint[]): string {
  const { endpoint, finding } = tried[tried.length - 1] as TriedEndpoint;
  switch (finding.kind) {
    case "forbidden":
      return `no permission to open ${endpoint}${finding.text.slice("permission denied".length)}`;
    case "untrusted":
      return `${endpoint} is ${finding.text}`;
    case "other_program":
      return (
        (endpoint === "tcp:auto"
          ? `the port of ${endpoint} is not that of the broker of the endpoint file`
          : `${endpoint} is not the broker of the token file`) +
        ": it has another certificate or no TLS; nothing was sent to it"
      );
    case "too_long":
      return `no broker at ${endpoint}: ${finding.text}`;
    default:
      if (finding.isMalformed) {
        return `${endpoint}: ${finding.text}`;
      }
      return `no broker at ${tried.map(({ endpoint, finding }) => `${endpoint} (${finding.text})`).join(" or ")}`;
  }
}
