/** Questions to the broker that touch no card: what fails in them has sent nothing. */

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
import type { Connection } from "./connection.js";
import { notSent } from "./error.js";
import { Reader } from "./reader.js";
import { isLost } from "./repeat.js";
import { MAX_DEADLINE } from "./times.js";

/** These answers are made from memory: longer, in ms, means that the broker is stuck. */
const QUERY_TIMEOUT = 10_000;

/** What ends a question, besides the broker's silence. */
export interface Patience {
  /** When the call that it belongs to is over, by the machine's clock. */
  end?: number;
  signal?: AbortSignal | undefined;
}

/** Asks the broker about itself and this program. */
export async function getBroker(connection: Connection, patience: Patience = {}): Promise<BrokerInfo> {
  const get: Unary<GetBrokerRequest, GetBrokerResponse> = (stub, ...rest) => stub.getBroker(...rest);
  return brokerInfo(await query(connection, get, {}, patience));
}

/** Asks for all readers. */
export async function listReaders(connection: Connection, patience: Patience = {}): Promise<Reader[]> {
  const list: Unary<ListReadersRequest, ListReadersResponse> = (stub, ...rest) => stub.listReaders(...rest);
  const { readers } = await query(connection, list, {}, patience);
  return readers.map((reader) => new Reader(reader));
}

/** Asks for one reader by its name, `readers/{id}`. */
export async function getReader(connection: Connection, name: string, patience: Patience = {}): Promise<Reader> {
  const get: Unary<GetReaderRequest, GetReaderResponse> = (stub, ...rest) => stub.getReader(...rest);
  const { reader } = await query(connection, get, { name }, patience);
  return new Reader(reader ?? WireReader.create());
}

async function query<Request, Response>(
  connection: Connection,
  method: Unary<Request, Response>,
  request: Request,
  { signal, end = Date.now() + MAX_DEADLINE }: Patience,
): Promise<Response> {
  const ask = () => {
    const limit = Math.max(0, end - Date.now());
    return call(connection, method, request, { limit, answerLimit: QUERY_TIMEOUT, signal });
  };
  try {
    return await ask().catch((error: unknown) => {
      // The connection had been lost before, and nobody had noticed. A question may be asked twice.
      if (isLost(error) && !connection.isReady) {
        return ask();
      }
      throw error;
    });
  } catch (error) {
    throw notSent(error);
  }
}
