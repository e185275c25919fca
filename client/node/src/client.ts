/** The client: a connection to the broker, and what can be asked over it. */

import { type InspectOptions, inspect } from "node:util";

import type { BrokerInfo } from "./broker.js";
import type { Command } from "./command.js";
import { Connection } from "./connection.js";
import { findEndpoint } from "./endpoint.js";
import { CallMetadata, GROUP_VARIABLE, TOKEN_FILE_VARIABLE } from "./metadata.js";
import { type Patience, getBroker, getReader, listReaders } from "./query.js";
import { type Reader, type ReaderName, resolve } from "./reader.js";
import type { Transmitted } from "./response.js";
import { type Session, type SessionOptions, openSession } from "./session.js";
import { type TransmitOptions, transmit } from "./transmit.js";
import type { WaitingTurn } from "./turn.js";
import { Watch } from "./watch.js";
import { watchTurn } from "./watch_turn.js";

/** How to connect. */
export interface ConnectOptions {
  /**
   * Where the broker is: `unix:/path` or `http://127.0.0.1:port`. Default: the variable `CARDBROKER_ENDPOINT`, else the
   * default socket.
   */
  endpoint?: string;
  /**
   * The isolation group, 1–128 visible ASCII characters. Default: the variable `CARDBROKER_GROUP`; empty to be a group of one's own.
   */
  group?: string;
  /**
   * The file with the token for a TCP endpoint, read anew for each call; nobody else may have access to it. Default: the variable `CARDBROKER_TOKEN_FILE`;
   * empty for none. Not used on a Unix socket.
   */
  tokenFile?: string;
  /**
   * How long to wait for a broker that does not answer yet, in ms: when connecting, and when a call finds the
   * connection lost. One attempt gets 1 s at least. Default: 5 s.
   */
  connectTimeout?: number;
}

/** What ends a question early. */
export interface QueryOptions {
  /** Ends it, not sent. */
  signal?: AbortSignal;
}

/** Which waiting requests to follow, and what ends that. */
export interface WatchTurnOptions extends QueryOptions {
  /** Only those at this reader. Default: at all readers. */
  reader?: ReaderName;
}

const CONNECT_TIMEOUT = 5_000;

/** A connection to the broker, one for each client. A lost connection is made anew by the next call. */
export class Client {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Connects to the broker. Throws {@link NotRunningError} if nobody answers in time, {@link InvalidError} if what was
   * given, or the environment, is of no use.
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

  /** The broker's version, run and limits, and this program as the broker sees it. */
  getBroker({ signal }: QueryOptions = {}): Promise<BrokerInfo> {
    return getBroker(this.#connection, { signal });
  }

  /** All readers that this program may see, ordered by name. */
  readers({ signal }: QueryOptions = {}): Promise<Reader[]> {
    return listReaders(this.#connection, { signal });
  }

  /** One reader as it is now. Throws `READER_NOT_FOUND` if there is none of that name. */
  async reader(reader: ReaderName, { signal }: QueryOptions = {}): Promise<Reader> {
    return getReader(this.#connection, await this.#name(reader, { signal }), { signal });
  }

  /**
   * Runs commands, 1–64, on the card in a reader as one unit. Throws {@link StoppedError} if some commands were
   * answered but not all, another {@link CardbrokerError} if none was.
   */
  transmit(reader: ReaderName, commands: Iterable<Command>, options: TransmitOptions = {}): Promise<Transmitted> {
    return transmit(this.#connection, (patience) => this.#name(reader, patience), commands, options);
  }

  /** Waits for the turn and opens a session with the card in a reader. */
  openSession(reader: ReaderName, options: SessionOptions = {}): Promise<Session> {
    return openSession(this.#connection, (patience) => this.#name(reader, patience), options);
  }

  /** Opens a session for `use` and ends it afterwards: in good order, or at once if `use` throws. */
  async withSession<T>(
    reader: ReaderName,
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

  /**
   * Follows this program's own waiting requests, at one reader or at all: tells all of them at once and again whenever
   * something has changed. The signal ends it; with the connection it fails.
   */
  async *watchTurn({ reader, signal }: WatchTurnOptions = {}): AsyncGenerator<readonly WaitingTurn[], void, void> {
    yield* watchTurn(this.#connection, reader === undefined ? "" : await this.#name(reader, { signal }), signal);
  }

  /** Gives the connection up. Calls, sessions and watches under way go on to their end; new ones fail. */
  close(): void {
    this.#connection.close();
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Client ${inspect({ endpoint: this.endpoint }, options)}`;
  }

  #name(reader: ReaderName, patience: Patience): Promise<string> {
    return resolve(reader, () => listReaders(this.#connection, patience));
  }
}
