/** What can go wrong, as types: every error says whether a command may have reached the card. */

import { type Metadata, status } from "@grpc/grpc-js";

import { ErrorReason as WireReason } from "../gen/cardbroker/v1/error.js";
import type { Transmitted } from "./response.js";

/** Whether a command may have reached the card: `not_sent` may be repeated at will; after `unknown` look at the card. */
export type Delivery = "not_sent" | "unknown";

/** The broker's reasons, as `error.proto` explains them. */
export type ErrorReason = Exclude<keyof typeof WireReason, "UNSPECIFIED" | "UNRECOGNIZED">;

/** Any failure of this package. No text of it holds an APDU byte. */
export abstract class CardbrokerError extends Error {
  protected constructor(
    message: string,
    /** Whether a command may have run that has no answer. */
    readonly delivery: Delivery,
    /** The broker's reason; absent if the failure is not the broker's word, or newer than this client. */
    readonly reason?: ErrorReason,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  override get name(): string {
    return this.constructor.name;
  }

  /** Whether the same request will fail again however often it is repeated. */
  get isPermanent(): boolean {
    return false;
  }
}

/** The text that should say where the broker is does not. */
export class EndpointError extends CardbrokerError {
  constructor(text: string) {
    super(`"${text}" is not an endpoint: use unix:/path or http://127.0.0.1:port`, "not_sent");
  }

  override get isPermanent(): boolean {
    return true;
  }
}

/** The file that should hold the token cannot be read, or holds none. */
export class TokenFileError extends CardbrokerError {
  constructor(
    readonly path: string,
    problem: string,
  ) {
    super(`token file ${path}: ${problem}`, "not_sent");
  }
}

/** Nobody answers at the endpoint, or this user may not open it. */
export class NotRunningError extends CardbrokerError {
  constructor(
    /** Where the broker was sought. */
    readonly endpoint: string,
    /** What the operating system says: `ENOENT`, `EACCES`. */
    readonly code?: string,
  ) {
    super(notRunning(endpoint, code), "not_sent");
  }
}

/** The broker refused or failed, or its answer did not arrive. No answer of a card is known. */
export class CallError extends CardbrokerError {
  /** The gRPC code; absent when a message of a session failed and left it open. */
  readonly code?: status;

  constructor(message: string, details: CallDetails) {
    super(message, details.delivery, details.reason, "cause" in details ? { cause: details.cause } : undefined);
    this.code = details.code;
  }

  override get isPermanent(): boolean {
    const { INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED, UNIMPLEMENTED } = status;
    const codes = [INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED, UNIMPLEMENTED];
    return this.code !== undefined && codes.includes(this.code);
  }
}

/** What a {@link CallError} knows beside its message. */
export interface CallDetails {
  delivery: Delivery;
  reason?: ErrorReason;
  code?: status;
  cause?: unknown;
}

/** The unit ended before its last command was answered. */
export class StoppedError extends CardbrokerError {
  constructor(
    message: string,
    delivery: Delivery,
    reason: ErrorReason | undefined,
    /** The first command, counted from 0, that has no complete answer. */
    readonly index: number,
    /** What was answered until then. */
    readonly partial: Transmitted,
  ) {
    super(`stopped at command ${index + 1}: ${message}`, delivery, reason);
  }
}

/** How a call ended, as far as it matters here; `ServiceError` and `StatusObject` are such. */
interface Ended {
  code: status;
  details: string;
  metadata?: Metadata;
}

/** The failure of a call that carries commands: without the broker's word they may have run. */
export function ofStatus(ended: Ended): CallError {
  const told = (trailer: string) => ended.metadata?.get(trailer)[0]?.toString();
  const reason = told("cardbroker-reason");
  const delivery = told("cardbroker-delivery");
  const message = reason === undefined && delivery === undefined ? messageWithoutWord(ended) : ended.details;
  return new CallError(message, {
    code: ended.code,
    reason: reason !== undefined && isReason(reason) ? reason : undefined,
    delivery: delivery === undefined ? deliveryWithoutWord(ended.code) : delivery === "not_sent" ? delivery : "unknown",
  });
}

/** The same failure, told to somebody whose commands did not leave this program. */
export function notSent<E>(error: E): E | CallError {
  if (!(error instanceof CallError) || error.delivery === "not_sent") {
    return error;
  }
  const { message, code, reason, cause } = error;
  return new CallError(message, { code, reason, cause, delivery: "not_sent" });
}

/** The end of a connection that this client noticed. */
export function lost(details: string): CallError {
  return ofStatus({ code: status.UNAVAILABLE, details });
}

/** The call outlived its deadline. */
export function deadlinePassed(): CallError {
  return ofStatus({ code: status.DEADLINE_EXCEEDED, details: "" });
}

/** The caller's signal ended the call. */
export function aborted(signal: AbortSignal, delivery: Delivery): CallError {
  return new CallError("the call was aborted", { code: status.CANCELLED, delivery, cause: signal.reason });
}

/** A request that breaks a rule of the contract, noticed before it was sent. */
export function invalid(message: string): CallError {
  return new CallError(message, { code: status.INVALID_ARGUMENT, reason: "INVALID_REQUEST", delivery: "not_sent" });
}

/** Whether the contract that this client knows has a reason of this name. */
export function isReason(name: string): name is ErrorReason {
  return Object.hasOwn(WireReason, name) && name !== "UNSPECIFIED" && name !== "UNRECOGNIZED";
}

/** Without the broker's word anything may have happened, except where no broker is: UNIMPLEMENTED comes before any handler. */
function deliveryWithoutWord(code: status): Delivery {
  return code === status.UNIMPLEMENTED ? "not_sent" : "unknown";
}

function messageWithoutWord({ code, details }: Ended): string {
  switch (code) {
    case status.DEADLINE_EXCEEDED:
      return "the call's deadline passed without an answer";
    case status.UNIMPLEMENTED:
      return "what answers at the endpoint is no Cardbroker, or an older one";
    case status.UNAVAILABLE:
    case status.UNKNOWN:
      return `the connection to the broker was lost (${details})`;
    default:
      return `${status[code]} (${details})`;
  }
}

function notRunning(endpoint: string, code: string | undefined): string {
  switch (code) {
    case "EACCES":
      return `no permission to open ${endpoint}`;
    case undefined:
    case "ENOENT":
    case "ECONNREFUSED":
      return `no broker at ${endpoint}`;
    default:
      return `no broker at ${endpoint} (${code})`;
  }
}
