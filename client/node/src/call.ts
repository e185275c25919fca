/** One call with one answer, as a promise. */

import type { CallOptions, ClientUnaryCall, Metadata, ServiceError } from "@grpc/grpc-js";

import type { CardBrokerServiceClient } from "../gen/cardbroker/v1/service.js";
import { type Bound, bounded } from "./bounded.js";
import type { Connection, Line } from "./connection.js";
import { aborted, ofStatus } from "./error.js";

/** A unary method of the stub. */
export type Unary<Request, Response> = (
  this: CardBrokerServiceClient,
  request: Request,
  metadata: Metadata,
  options: CallOptions,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** Makes the call within its bound, which covers connecting too. */
export async function call<Request, Response>(
  connection: Connection,
  method: (stub: CardBrokerServiceClient) => Unary<Request, Response>,
  request: Request,
  bound: Bound,
): Promise<Response> {
  const deadline = Date.now() + bound.limit;
  const line = await bounded(connection.line(), bound);
  return answer(line, method(line.stub), request, deadline, bound.signal);
}

function answer<Request, Response>(
  { stub, metadata }: Line,
  method: Unary<Request, Response>,
  request: Request,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const call = method.call(stub, request, metadata, { deadline }, (error, response) => {
      signal?.removeEventListener("abort", abort);
      if (error) {
        const failure = ofStatus(error);
        reject(signal?.aborted && failure.reason === undefined ? aborted(signal, "unknown") : failure);
      } else {
        resolve(response);
      }
    });
    const abort = () => call.cancel();
    signal?.addEventListener("abort", abort);
  });
}
