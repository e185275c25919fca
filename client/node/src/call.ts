/** A unary call as a promise. */

import type { CallOptions, ClientUnaryCall, Metadata, ServiceError } from "@grpc/grpc-js";

import type { CardBrokerServiceClient } from "../gen/cardbroker/v1/service.js";
import { type Bound, bounded } from "./bounded.js";
import { grpcDeadline, now } from "./clock.js";
import type { Connection, Line } from "./connection.js";
import { aborted } from "./error.js";
import { isUnreported, ofStatus } from "./failure.js";

/** A unary method of the generated stub. */
export type Unary<Request, Response> = (
  stub: CardBrokerServiceClient,
  request: Request,
  metadata: Metadata,
  options: CallOptions,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/**
 * Cancels a call in the next turn of the event loop: gRPC ignores the cancellation of a call that has not begun, and
 * would begin it afterwards.
 */
export function cancel(call: { cancel(): void }): void {
  setImmediate(() => call.cancel());
}

/** The limits of a call; `limit` includes the time to connect. */
export interface CallBound extends Bound {
  /** The longest wait for a connection, in ms. Default: `limit`. */
  connectLimit?: number;
  /** The longest wait for the answer once there is a connection, in ms. Default: the rest of `limit`. */
  answerLimit?: number;
}

/** Runs a unary call within its limits. */
export async function call<Request, Response>(
  connection: Connection,
  method: Unary<Request, Response>,
  request: Request,
  { limit, signal, connectLimit = limit, answerLimit = limit }: CallBound,
): Promise<Response> {
  const end = now() + limit;
  const line = await bounded(connection.line(), { limit: Math.min(limit, connectLimit), signal });
  return answer(line, method, request, Math.min(end, now() + answerLimit), signal);
}

function answer<Request, Response>(
  { stub, metadata }: Line,
  method: Unary<Request, Response>,
  request: Request,
  end: number,
  signal: AbortSignal | undefined,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const call = method(stub, request, metadata, { deadline: grpcDeadline(end) }, (error, response) => {
      signal?.removeEventListener("abort", abort);
      if (error) {
        const failure = ofStatus(error);
        reject(signal?.aborted && isUnreported(failure) ? aborted(signal, "UNKNOWN") : failure);
      } else {
        resolve(response);
      }
    });
    const abort = () => cancel(call);
    signal?.addEventListener("abort", abort);
  });
}
