/** The broker's word on a failure, from wherever it stands: a status, a stop, a message of a session. */

import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type Metadata, status } from "@grpc/grpc-js";

import {
  Delivery as WireDelivery,
  ErrorReason as WireReason,
  Failure as WireFailure,
  RevocationCause as WireCause,
  StatusDetails,
} from "../gen/cardbroker/v1/error.js";
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
export function fromWire(wire: WireFailure): Failure {
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

/** The failure of a call that carries commands: without the broker's word they may have run. */
export function ofStatus(ended: Ended): FailedError {
  const told = toldBy(ended);
  if (told) {
    return new FailedError({ ...told, code: told.code ?? ended.code, message: told.message || ended.details });
  }
  const message = messageWithoutWord(ended);
  return new FailedError({ code: ended.code, delivery: "UNKNOWN", message, fieldViolations: [] });
}

/**
 * What the broker says about the end of a call: its `Failure`, else what generic details or plain trailers tell. `undefined` if
 * the end is not the broker's word but a library's, a proxy's or the transport's.
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
  const generic = detail("google.rpc.ErrorInfo");
  const info = generic && attempt(() => decodeErrorInfo(generic));
  if (info?.domain === "cardbroker") {
    const { reader, rule } = Object.fromEntries(info.metadata);
    return {
      ...(info.reason && { reason: info.reason }),
      delivery: deliveryOf(info.metadata.get("delivery")),
      message: details,
      ...(rule && { rule }),
      fieldViolations: [],
      ...(reader && { reader }),
    };
  }
  const reason = metadata?.get("cardbroker-reason")[0]?.toString();
  const delivery = metadata?.get("cardbroker-delivery")[0]?.toString();
  if (reason === undefined && delivery === undefined) {
    return undefined;
  }
  return { ...(reason && { reason }), delivery: deliveryOf(delivery), message: details, fieldViolations: [] };
}

function deliveryOf(text: string | undefined): Delivery {
  return text === "not_sent" ? "NOT_SENT" : text === "executed" ? "EXECUTED" : "UNKNOWN";
}

interface ErrorInfo {
  reason: string;
  domain: string;
  metadata: Map<string, string>;
}

/** Reads a google.rpc.ErrorInfo: 1 reason, 2 domain, 3 metadata, a map of texts. */
function decodeErrorInfo(bytes: Uint8Array): ErrorInfo {
  const info: ErrorInfo = { reason: "", domain: "", metadata: new Map() };
  for (const [field, reader] of lengthDelimited(bytes)) {
    if (field === 1) {
      info.reason = reader.string();
    } else if (field === 2) {
      info.domain = reader.string();
    } else if (field === 3) {
      const entry = ["", ""];
      for (const [part, text] of lengthDelimited(reader.bytes())) {
        entry[part === 1 ? 0 : 1] = text.string();
      }
      info.metadata.set(entry[0] ?? "", entry[1] ?? "");
    } else {
      reader.skip(2);
    }
  }
  return info;
}

/** Each field of a message of texts and messages; whoever iterates reads its value. */
function* lengthDelimited(bytes: Uint8Array): Generator<[field: number, reader: BinaryReader]> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === 2) {
      yield [field, reader];
    } else {
      reader.skip(type);
    }
  }
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
