/** The client: its connection to the broker, its queries, units, sessions and watches. */

import { type InspectOptions, inspect } from "node:util";

import type { BrokerInfo } from "./broker.js";
import type { Command } from "./command.js";
import { Connection } from "./connection.js";
import { type Target, findTargets } from "./endpoint.js";
import { CardEvents } from "./events.js";
import { CallMetadata, GROUP_VARIABLE, TOKEN_FILE_VARIABLE } from "./metadata.js";
import { type TimeLimits, getBroker, getReader, listReaders } from "./query.js";
import { type Reader, type ReaderName, resolve } from "./reader.js";
import type { Transmitted } from "./response.js";
import { type Session, type SessionOptions, openSession } from "./session.js";
import { type TransmitOptions, transmit } from "./transmit.js";
import type { WaitingTurn } from "./turn.js";
import { Watch } from "./watch.js";
import { watchTurn } from "./watch_turn.js";

/** The options of {@link Client.connect}. */
export interface ConnectOptions {
  /**
   * The endpoint: `unix:/path`, `https://127.0.0.1:port`, or `tcp:auto` for the port in the endpoint file of this user's
   * broker. Default: the variable `CARDBROKER_ENDPOINT`, else the first default place that works: the user's socket,
   * then the system's. The client stays with it. Default places are used only if no other user decides what is there.
   */
  endpoint?: string;
  /**
   * The key of the isolation group, 1–128 visible ASCII characters. Default: the variable `CARDBROKER_GROUP`; empty: a
   * group of its own.
   */
  group?: string;
  /**
   * The file with token and certificate for a TCP endpoint, read anew for each call and each connection, and accessible
   * to its owner only. Default: the variable `CARDBROKER_TOKEN_FILE`; empty: none. Not used on a Unix socket, nor
   * for `tcp:auto`.
   */
  tokenFile?: string;
  /**
   * The longest wait for a broker that does not answer yet, in ms: in `connect`, and in a call after a lost connection.
   * One attempt gets at least 1 s. Default: 5 s.
   */
  connectTimeout?: number;
}

/** The options of a query. */
export interface QueryOptions {
  /** Ends the query with `NOT_SENT`. */
  signal?: AbortSignal;
}

/** The options of {@link Client.watchTurn}. */
export interface WatchTurnOptions extends QueryOptions {
  /** The reader to follow. Default: all readers. */
  reader?: ReaderName;
}

const CONNECT_TIMEOUT = 5_000;

/** A connection to the broker, one for each client. After a loss the next call reconnects. */
export class Client {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Connects to the broker.
   *
   * @throws {@link NotRunningError} if no broker answers in time; {@link InvalidError} for invalid options or
   * environment variables.
   */
  static async connect(options: ConnectOptions = {}): Promise<Client> {
    const { env } = process;
    const targets = findTargets(options.endpoint, env);
    const [first] = targets as [Target];
    // On a socket the system identifies the caller, and the file of `tcp:auto` has a token of its own.
    const tokenFile = first.address ? (options.tokenFile ?? env[TOKEN_FILE_VARIABLE]) : undefined;
    const metadata = new CallMetadata(options.group ?? env[GROUP_VARIABLE] ?? "", tokenFile ?? "");
    if (first.address?.isPlain) {
      process.emitWarning(`${first.text} is plain TCP: a program that takes or relays the port reads tokens and PINs`);
    }
    const connection = new Connection(targets, metadata, options.connectTimeout ?? CONNECT_TIMEOUT);
    await connection.line();
    return new Client(connection);
  }

  /** The endpoint of the broker: `unix:/path`, `https://HOST:PORT`, `http://HOST:PORT` or `tcp:auto`. */
  get endpoint(): string {
    return this.#connection.endpoint.text;
  }

  /**
   * The broker's version, run and limits, and this program's caller identity.
   *
   * @throws {@link NotRunningError} or {@link FailedError}.
   */
  getBroker({ signal }: QueryOptions = {}): Promise<BrokerInfo> {
    return getBroker(this.#connection, { signal });
  }

  /**
   * All readers that this program may see, ordered by name.
   *
   * @throws {@link NotRunningError} or {@link FailedError}.
   */
  readers({ signal }: QueryOptions = {}): Promise<Reader[]> {
    return listReaders(this.#connection, { signal });
  }

  /**
   * The current state of one reader.
   *
   * @throws {@link FailedError} with the reason `READER_NOT_FOUND` if it does not exist; {@link InvalidError} if a
   * display name is not that of exactly one reader; {@link NotRunningError}.
   */
  async reader(reader: ReaderName, { signal }: QueryOptions = {}): Promise<Reader> {
    return getReader(this.#connection, await this.#name(reader, { signal }), { signal });
  }

  /**
   * Runs commands, 1–64, on the card in a reader as one unit.
   *
   * @throws {@link StoppedError} if the unit ended early; {@link FailedError} if it did not run or its answer did not
   * arrive; {@link InvalidError} if this package refuses the request; {@link NotRunningError}.
   */
  transmit(reader: ReaderName, commands: Iterable<Command>, options: TransmitOptions = {}): Promise<Transmitted> {
    return transmit(this.#connection, (limits) => this.#name(reader, limits), commands, options);
  }

  /**
   * Waits for the turn and opens a session with the card in a reader.
   *
   * @throws {@link FailedError} if the session does not open; {@link InvalidError} if this package refuses the request;
   * {@link NotRunningError}.
   */
  openSession(reader: ReaderName, options: SessionOptions = {}): Promise<Session> {
    return openSession(this.#connection, (limits) => this.#name(reader, limits), options);
  }

  /**
   * Opens a session for `use` and ends it afterwards: in order, or at once if `use` throws.
   *
   * @throws The errors of `openSession`, of `use` and of {@link Session.close}.
   */
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

  /** Follows all readers and reconnects after a loss; the signal ends the watch. */
  watch({ signal }: { signal?: AbortSignal } = {}): Watch {
    return new Watch(this.#connection, signal);
  }

  /**
   * Emits `reader` for each reader, and each reader emits `card` and `card.off`, from the next turn of the event loop
   * on. Goes on after a lost connection; `close` or the signal ends it.
   */
  events({ signal }: { signal?: AbortSignal } = {}): CardEvents {
    return new CardEvents((...unit) => this.transmit(...unit), this.watch({ signal }));
  }

  /**
   * Follows this program's own waiting requests, at one reader or at all: yields all of them at once and after each
   * change. The signal ends it.
   *
   * @throws {@link FailedError} after a lost connection; {@link NotRunningError}.
   */
  async *watchTurn({ reader, signal }: WatchTurnOptions = {}): AsyncGenerator<readonly WaitingTurn[], void, void> {
    yield* watchTurn(this.#connection, reader === undefined ? "" : await this.#name(reader, { signal }), signal);
  }

  /** Closes the client. Running calls, sessions and watches continue to their end; new ones fail. */
  close(): void {
    this.#connection.close();
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Client ${inspect({ endpoint: this.endpoint }, options)}`;
  }

  #name(reader: ReaderName, limits: TimeLimits): Promise<string> {
    return resolve(reader, () => listReaders(this.#connection, limits));
  }
}
