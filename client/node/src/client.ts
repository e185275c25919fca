/** The client: a connection to the broker, and what can be asked over it. */

import { type InspectOptions, inspect } from "node:util";

import type { ListReadersRequest, ListReadersResponse, Reader } from "../gen/cardbroker/v1/reader.js";
import { type Unary, call } from "./call.js";
import type { Command } from "./command.js";
import { Connection } from "./connection.js";
import { findEndpoint } from "./endpoint.js";
import { notSent } from "./error.js";
import { CallMetadata, GROUP_VARIABLE, TOKEN_FILE_VARIABLE } from "./metadata.js";
import type { Transmitted } from "./response.js";
import { type Session, type SessionOptions, openSession } from "./session.js";
import { type TransmitOptions, transmit } from "./transmit.js";
import { Watch } from "./watch.js";

/** How to connect. */
export interface ConnectOptions {
  /**
   * Where the broker is: `unix:/path` or `http://127.0.0.1:port`. Default: the variable `CARDBROKER_ENDPOINT`, else the
   * default socket.
   */
  endpoint?: string;
  /** The isolation group, printable ASCII. Default: the variable `CARDBROKER_GROUP`; empty to be a group of one's own. */
  group?: string;
  /**
   * The file with the token for a TCP endpoint, read anew for each call. Default: the variable `CARDBROKER_TOKEN_FILE`; empty
   * for none. Not used on a Unix socket.
   */
  tokenFile?: string;
  /** How long one attempt to connect may take, in ms. Default: 5 s. */
  connectTimeout?: number;
}

/** A list of readers is made from memory: longer, in ms, means that the broker is stuck. */
const QUERY_TIMEOUT = 10_000;

const CONNECT_TIMEOUT = 5_000;

/** A connection to the broker, one for each client. A lost connection is made anew by the next call. */
export class Client {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Connects to the broker. Throws {@link NotRunningError} if nobody answers in time, {@link EndpointError} or
   * {@link TokenFileError} if what was given, or the environment, is of no use.
   */
  static async connect(options: ConnectOptions = {}): Promise<Client> {
    const { env } = process;
    const endpoint = findEndpoint(options.endpoint, env);
    const tokenFile = endpoint.path === undefined ? (options.tokenFile ?? env[TOKEN_FILE_VARIABLE]) : undefined;
    const metadata = new CallMetadata(options.group ?? env[GROUP_VARIABLE] ?? "", tokenFile ?? "");
    const connection = new Connection(endpoint, metadata, options.connectTimeout ?? CONNECT_TIMEOUT);
    await connection.line();
    return new Client(connection);
  }

  /** Where the broker is: `unix:/path` or `http://HOST:PORT`. */
  get endpoint(): string {
    return this.#connection.endpoint.text;
  }

  /** All readers that this program may see, ordered by name. */
  async readers({ signal }: { signal?: AbortSignal } = {}): Promise<Reader[]> {
    const bound = { limit: QUERY_TIMEOUT, signal };
    const list: Unary<ListReadersRequest, ListReadersResponse> = (stub, ...rest) => stub.listReaders(...rest);
    const { readers } = await call(this.#connection, list, {}, bound).catch((error: unknown) => {
      throw notSent(error);
    });
    return readers;
  }

  /**
   * Runs commands, 1–64, on the card in the reader `readers/{id}` as one unit. Throws {@link StoppedError} if some commands
   * were answered but not all, another {@link CardbrokerError} if none was.
   */
  transmit(reader: string, commands: Iterable<Command>, options: TransmitOptions = {}): Promise<Transmitted> {
    return transmit(this.#connection, reader, commands, options);
  }

  /** Waits for the turn and opens a session with the card in the reader `readers/{id}`. */
  openSession(reader: string, options: SessionOptions = {}): Promise<Session> {
    return openSession(this.#connection, reader, options);
  }

  /** Opens a session for `use` and ends it afterwards: in good order, or at once if `use` throws. */
  async withSession<T>(
    reader: string,
    use: (session: Session) => Promise<T>,
    options: SessionOptions = {},
  ): Promise<T> {
    const session = await this.openSession(reader, options);
    let result: T;
    try {
      result = await use(session);
    } catch (error) {
      session.abort();
      throw error;
    }
    await session.close();
    return result;
  }

  /** Follows all readers, through losses of the connection; the signal ends it. */
  watch({ signal }: { signal?: AbortSignal } = {}): Watch {
    return new Watch(this.#connection, signal);
  }

  /** Gives the connection up. Calls, sessions and watches under way go on to their end; new ones fail. */
  close(): void {
    this.#connection.close();
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Client ${inspect({ endpoint: this.endpoint }, options)}`;
  }
}
