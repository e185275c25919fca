/** Queries to the broker without commands: their failures are `NOT_SENT`. */

import type { GetBrokerRequest, GetBrokerResponse } from "../gen/cardbroker/v1/broker.js";
import {
  type GetReaderRequest,
  type GetReaderResponse,
  type ListReadersRequest,
  type ListReadersResponse,
  Reader as WireReader,
} from "../gen/cardbroker/v1/reader.js";
import { type BrokerInfo, brokerInfo } from "./broker.js";
import { type Unary, call } from "./call.js";
import { now } from "./clock.js";
import type { Connection } from "./connection.js";
import { notSent } from "./error.js";
import { Reader } from "./reader.js";
import { isLost } from "./repeat.js";
import { MAX_DEADLINE } from "./times.js";

/** The longest time for a query, in ms: the broker answers queries from memory, so a slower one is stuck. */
const QUERY_TIMEOUT = 10_000;

/** The limits of a query. */
export interface TimeLimits {
  /** The end of the call around the query, by {@link now}. */
  end?: number;
  signal?: AbortSignal | undefined;
}

/** Gets the broker's description of itself and of this program. */
export async function getBroker(connection: Connection, limits: TimeLimits = {}): Promise<BrokerInfo> {
  const get: Unary<GetBrokerRequest, GetBrokerResponse> = (stub, ...rest) => stub.getBroker(...rest);
  return brokerInfo(await query(connection, get, {}, limits));
}

/** Lists all readers that this program may see. */
export async function listReaders(connection: Connection, limits: TimeLimits = {}): Promise<Reader[]> {
  const list: Unary<ListReadersRequest, ListReadersResponse> = (stub, ...rest) => stub.listReaders(...rest);
  const { readers } = await query(connection, list, {}, limits);
  return readers.map((reader) => new Reader(reader));
}

/** Gets one reader by its name, `readers/{id}`. */
export async function getReader(connection: Connection, name: string, limits: TimeLimits = {}): Promise<Reader> {
  const get: Unary<GetReaderRequest, GetReaderResponse> = (stub, ...rest) => stub.getReader(...rest);
  const { reader } = await query(connection, get, { name }, limits);
  return new Reader(reader ?? WireReader.create());
}

async function query<Request, Response>(
  connection: Connection,
  method: Unary<Request, Response>,
  request: Request,
  { signal, end = now() + MAX_DEADLINE }: TimeLimits,
): Promise<Response> {
  const ask = () => {
    const limit = Math.max(0, end - now());
    return call(connection, method, request, { limit, answerLimit: QUERY_TIMEOUT, signal });
  };
  try {
    return await ask().catch((error: unknown) => {
      // The connection had been lost unnoticed. A repeat of a query is safe.
      if (isLost(error) && !connection.isReady) {
        return ask();
      }
      throw error;
    });
  } catch (error) {
    throw notSent(error);
  }
}
