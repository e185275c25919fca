/** Reads the broker's failures from a status, a stop or a message of a session. */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type Metadata, status } from "@grpc/grpc-js";

import {
  Delivery as WireDelivery,
  ErrorReason as WireReason,
  Failure as WireFailure,
  RevocationCause as WireCause,
  StatusDetails,
} from "../gen/cardbroker/v1/error.js";
import { Duration } from "../gen/google/protobuf/duration.js";
import { type Delivery, type Failure, FailedError } from "./error.js";
import { milliseconds } from "./times.js";
import { toWord } from "./words.js";

/** The end of a call: the common part of `ServiceError` and `StatusObject`. */
interface Ended {
  code: status;
  details: string;
  metadata?: Metadata;
}

/** Converts a failure of the contract. A delivery newer than this client counts as `UNKNOWN`. */
function fromWire(wire: WireFailure): Failure {
  const delivery = toWord(WireDelivery, wire.delivery);
  return {
    ...(wire.reason && { reason: toWord(WireReason, wire.reason) }),
    delivery: typeof delivery === "number" ? "UNKNOWN" : delivery,
    ...(wire.code && { code: wire.code }),
    message: wire.message,
    ...(wire.retryAfter && { retryAfter: milliseconds(wire.retryAfter) }),
    ...(wire.rule && { rule: wire.rule }),
    ...(wire.cause && { cause: toWord(WireCause, wire.cause) }),
    fieldViolations: wire.fieldViolations,
    ...(wire.reader && { reader: wire.reader }),
    ...(wire.triesLeft !== undefined && { triesLeft: wire.triesLeft }),
  };
}

/** Failures from statuses without any detail of the broker. */
const unreported = new WeakSet<FailedError>();

/** Whether an error is the end of a call that a library, a proxy or the transport caused, not the broker. */
export function isUnreported(error: unknown): error is FailedError {
  return error instanceof FailedError && unreported.has(error);
}

/** Converts a failure within an answer, without a status around it. */
export function inBand(wire: WireFailure = WireFailure.create()): Failure {
  return { code: status.UNKNOWN, ...fromWire(wire) };
}

/** The failure of a call with commands: without details of the broker they may have run. */
export function ofStatus(ended: Ended): FailedError {
  const reported = reportedFailure(ended);
  if (reported) {
    return new FailedError({
      ...reported,
      code: reported.code ?? ended.code,
      message: reported.message || ended.details,
    });
  }
  const message = transportMessage(ended);
  const error = new FailedError({ code: ended.code, delivery: "UNKNOWN", message, fieldViolations: [] });
  unreported.add(error);
  return error;
}

/**
 * The broker's failure in the end of a call: its `Failure`, else the standard details, else the plain trailers.
 * `undefined` if a library, a proxy or the transport ended the call.
 */
export function reportedFailure({ details, metadata }: Ended): Failure | undefined {
  const [packed] = metadata?.get("grpc-status-details-bin") ?? [];
  const anys = packed instanceof Uint8Array ? attempt(() => StatusDetails.decode(packed).details) : undefined;
  const detail = (type: string) => anys?.find(({ typeUrl }) => typeUrl.endsWith(`/${type}`))?.value;

  const value = detail("cardbroker.v1.Failure");
  const wire = value && attempt(() => WireFailure.decode(value));
  if (wire) {
    return fromWire(wire);
  }
  const generic = attempt(() => fromGeneric(detail));
  if (generic) {
    return { ...generic, message: details };
  }
  const reason = metadata?.get("cardbroker-reason")[0]?.toString();
  const delivery = metadata?.get("cardbroker-delivery")[0]?.toString();
  if (reason === undefined && delivery === undefined) {
    return undefined;
  }
  return { ...named(reason), delivery: deliveryOf(delivery), message: details, fieldViolations: [] };
}

/** Reads ErrorInfo, RetryInfo and BadRequest of google.rpc; `undefined` without an ErrorInfo of the broker. */
function fromGeneric(detail: (type: string) => Uint8Array | undefined): Failure | undefined {
  const info = fields(detail("google.rpc.ErrorInfo"));
  if (info.get(2)?.[0]?.toString() !== "cardbroker") {
    return undefined;
  }
  const metadata = new Map(info.get(3)?.map((entry) => pair(entry)));
  const [rule, reader] = [metadata.get("rule"), metadata.get("reader")];
  const [pause] = fields(detail("google.rpc.RetryInfo")).get(1) ?? [];
  const violations = fields(detail("google.rpc.BadRequest")).get(1) ?? [];
  return {
    ...named(info.get(1)?.[0]?.toString()),
    delivery: deliveryOf(metadata.get("delivery")),
    message: "",
    ...(pause && { retryAfter: milliseconds(Duration.decode(pause)) }),
    ...(rule && { rule }),
    fieldViolations: violations.map((violation) => {
      const [field, description] = pair(violation);
      return { field, description };
    }),
    ...(reader && { reader }),
  };
}

function named(reason: string | undefined): Pick<Failure, "reason"> {
  return reason && reason !== "UNSPECIFIED" ? { reason } : {};
}

function deliveryOf(text: string | undefined): Delivery {
  return text === "not_sent" ? "NOT_SENT" : text === "executed" ? "EXECUTED" : "UNKNOWN";
}

/** The texts in the fields 1 and 2 of a message. */
function pair(bytes: Uint8Array): [string, string] {
  const [one, other] = [1, 2].map((field) => fields(bytes).get(field)?.[0]?.toString() ?? "");
  return [one ?? "", other ?? ""];
}

/** The length-delimited fields of a message by field number. Throws if the bytes are no message. */
function fields(bytes: Uint8Array = Buffer.alloc(0)): Map<number, Buffer[]> {
  const found = new Map<number, Buffer[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited) {
      found.set(field, [...(found.get(field) ?? []), Buffer.from(reader.bytes())]);
    } else {
      reader.skip(type);
    }
  }
  return found;
}

/** The result of `decode`, or `undefined` if it throws. */
function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

function transportMessage({ code, details }: Ended): string {
  switch (code) {
    case status.DEADLINE_EXCEEDED:
      return "the call's deadline passed without an answer";
    case status.UNIMPLEMENTED:
      return "the server at the endpoint is not cardbrokerd, or an older version";
    case status.UNAVAILABLE:
    case status.UNKNOWN:
      return `the connection to the broker was lost (${details})`;
    default:
      return `${status[code]} (${details})`;
  }
}
