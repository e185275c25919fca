/** The broker's word on a failure, from wherever it stands: a status, a stop, a message of a session. */

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

/** How a call ended, as far as it matters here; `ServiceError` and `StatusObject` are such. */
interface Ended {
  code: status;
  details: string;
  metadata?: Metadata;
}

/** A failure of the wire. A delivery that is not known counts as `UNKNOWN`. */
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
  };
}

/** Failures made of statuses without the broker's word. */
const untold = new WeakSet<FailedError>();

/** Whether an error is a call's end of which the broker said nothing: a library, a proxy or the transport made it. */
export function isUntold(error: unknown): error is FailedError {
  return error instanceof FailedError && untold.has(error);
}

/** A failure within an answer, where no status gives it a code. */
export function inBand(wire: WireFailure = WireFailure.create()): Failure {
  return { code: status.UNKNOWN, ...fromWire(wire) };
}

/** The failure of a call that carries commands: without the broker's word they may have run. */
export function ofStatus(ended: Ended): FailedError {
  const told = toldBy(ended);
  if (told) {
    return new FailedError({ ...told, code: told.code ?? ended.code, message: told.message || ended.details });
  }
  const message = messageWithoutWord(ended);
  const error = new FailedError({ code: ended.code, delivery: "UNKNOWN", message, fieldViolations: [] });
  untold.add(error);
  return error;
}

/**
 * What the broker says about the end of a call: its `Failure`, else what generic details or plain trailers tell.
 * `undefined` if the end is not the broker's word but a library's, a proxy's or the transport's.
 */
export function toldBy({ details, metadata }: Ended): Failure | undefined {
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

/** What google.rpc's ErrorInfo, RetryInfo and BadRequest tell; `undefined` without an ErrorInfo of the broker. */
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

/** The texts, bytes and messages in a message by the numbers of their fields. Throws if it is none. */
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

/** What `decode` gives, or nothing if the bytes cannot be read. */
function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

function messageWithoutWord({ code, details }: Ended): string {
  switch (code) {
    case status.DEADLINE_EXCEEDED:
      return "the call's deadline passed without an answer";
    case status.UNIMPLEMENTED:
      return `what answers at the endpoint is no Cardbroker, or an older one (${details})`;
    case status.UNAVAILABLE:
    case status.UNKNOWN:
      return `the connection to the broker was lost (${details})`;
    default:
      return `${status[code]} (${details})`;
  }
}
