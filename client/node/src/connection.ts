/** The connection to the broker: opened at the first need, and reopened after a loss. */

import { AsyncLocalStorage } from "node:async_hooks";
import { X509Certificate } from "node:crypto";
import { subscribe } from "node:diagnostics_channel";
import { type Socket, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";

import {
  type Channel,
  type ChannelCredentials,
  type ChannelOptions,
  type Metadata,
  connectivityState,
  credentials,
  status,
} from "@grpc/grpc-js";

import { CardBrokerServiceClient } from "../gen/cardbroker/v1/service.js";
import { grpcDeadline, now } from "./clock.js";
import type { Endpoint, Target } from "./endpoint.js";
import { type FailedError, NotRunningError, own } from "./error.js";
import type { CallMetadata, Route } from "./metadata.js";
import { type Finding, OTHER_PROGRAM, findingOf, lengthOf, obstacle, search } from "./places.js";

/** The stub on an open connection, and the metadata for one call. */
export interface Line {
  stub: CardBrokerServiceClient;
  metadata: Metadata;
  /** Ends the connection at once, with all calls on it. */
  disconnect: () => void;
}

/** A gRPC channel with the sockets below it, and what it was made by. */
interface Wire {
  route: Route;
  stub: CardBrokerServiceClient;
  sockets: Set<Socket>;
}

/** The owner of a socket that is created now; @grpc/grpc-js does not expose its sockets. */
const making = new AsyncLocalStorage<Wire["sockets"]>();
subscribe("net.client.socket", (message) => {
  const { socket } = message as { socket: Socket };
  const sockets = making.getStore();
  if (sockets) {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  }
});

const OPTIONS: ChannelOptions = {
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // The broker is on this machine, whatever the environment says about proxies and the network about service names.
  "grpc.enable_http_proxy": 0,
  // This client decides on repeats, never gRPC.
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  // Otherwise the channels of a process share a connection: then closing a client would not end it, and on TCP,
  // where a connection is a caller, two clients would be one.
  "grpc.use_local_subchannel_pool": 1,
};

/** The pause between two attempts to reach a broker that does not answer yet, in ms. */
const PAUSE = 100;

/** The least time for one attempt to connect, in ms. */
const MIN_ATTEMPT = 1_000;

/** The name in the broker's certificate, whatever the address. */
const SERVER_NAME = "localhost";

type Watched = Pick<Channel, "getConnectivityState" | "watchConnectivityState">;

/** Owns the gRPC channel of a client. */
export class Connection {
  /** The named endpoint, or the default places in their order; after the first connection the one that has worked. */
  #targets: readonly Target[];
  readonly #metadata: CallMetadata;
  readonly #timeout: number;
  #wire: Wire | undefined;
  #connecting: Promise<Wire> | undefined;
  #closed = false;

  /** Does not connect yet; `timeout` is the longest wait for a broker that does not answer yet, in ms. */
  constructor(targets: readonly Target[], metadata: CallMetadata, timeout: number) {
    this.#targets = targets;
    this.#metadata = metadata;
    this.#timeout = timeout;
  }

  /** The endpoint of the broker, as far as it is known. */
  get endpoint(): Endpoint {
    return this.#targets[0] as Target;
  }

  /**
   * The line for one call; waits for a broker that is away. Nothing is sent before, so every failure here is
   * `NOT_SENT`.
   */
  async line(): Promise<Line> {
    const end = now() + this.#timeout;
    for (;;) {
      try {
        const { route, stub, sockets } = await this.#ready(end);
        const metadata = await this.#metadata.make(route);
        const disconnect = () => sockets.forEach((socket) => socket.destroy());
        return { stub, metadata, disconnect };
      } catch (error) {
        if (!mayStart(error) || now() + PAUSE > end) {
          throw error;
        }
      }
      await sleep(PAUSE);
    }
  }

  /** Whether the connection is open, as far as this program knows. */
  get isReady(): boolean {
    return this.#wire?.stub.getChannel().getConnectivityState(false) === connectivityState.READY;
  }

  /** Closes the channel; running calls continue to their end. */
  close(): void {
    this.#closed = true;
    this.#wire?.stub.close();
  }

  async #ready(end: number): Promise<Wire> {
    if (this.#closed) {
      throw closed();
    }
    if (this.#wire && this.isReady) {
      return this.#wire;
    }
    this.#connecting ??= this.#connect(end).finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(end: number): Promise<Wire> {
    // Opens a new channel, because the old one would pause before its next attempt.
    this.#wire?.stub.close();
    this.#wire = undefined;
    let wire: Wire | undefined;
    const { found, inVain } = await search(this.#targets, async (target) => {
      const route = obstacleAt(target) ?? (await this.#metadata.route(target));
      const opened = "kind" in route ? route : await open(route, end);
      wire = "kind" in opened ? undefined : opened;
      return "kind" in opened ? opened : undefined;
    });
    if (!wire || !found) {
      throw new NotRunningError(inVain.map(({ place, finding }) => ({ endpoint: place.text, finding })));
    }
    if (this.#closed) {
      wire.stub.close();
      throw closed();
    }
    this.#targets = [found];
    this.#wire = wire;
    return wire;
  }
}

/** Why a socket is not even connected to; a default one must be trusted first. */
function obstacleAt({ path, place }: Target): Finding | undefined {
  if (path === undefined) {
    return undefined;
  }
  if (place) {
    return obstacle(place, process.geteuid?.() ?? -1);
  }
  // A pipe is no path of a file, and its length was checked.
  return process.platform === "win32" ? undefined : lengthOf(path);
}

/** Connects once; with a certificate, only to its broker. */
async function open(route: Route, end: number): Promise<Wire | Finding> {
  const { endpoint, certificate } = route;
  const options: ChannelOptions = { ...OPTIONS };
  if (certificate) {
    options["grpc.ssl_target_name_override"] = SERVER_NAME;
  } else if (endpoint.path !== undefined) {
    options["grpc.default_authority"] = "localhost";
  }
  const stub = new CardBrokerServiceClient(endpoint.target, credentialsFor(certificate), options);
  const sockets: Wire["sockets"] = new Set();
  const attemptEnd = Math.max(end, now() + MIN_ATTEMPT);
  if (await making.run(sockets, () => becomesReady(stub.getChannel(), attemptEnd))) {
    return { route, stub, sockets };
  }
  stub.close();
  return connectFailure(route);
}

/** Whether the start of a broker would resolve this failure; a missing permission remains. */
function mayStart(error: unknown): boolean {
  return error instanceof NotRunningError && error.finding.waitingHelps;
}

async function becomesReady(channel: Watched, end: number): Promise<boolean> {
  for (;;) {
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) {
      return true;
    }
    if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) {
      return false;
    }
    const error = await new Promise((resolve) => channel.watchConnectivityState(state, grpcDeadline(end), resolve));
    if (error) {
      return false;
    }
  }
}

/**
 * Accepts this certificate and no other: it is the only root, and it is compared with the broker's. Says itself that
 * others are refused, because NODE_TLS_REJECT_UNAUTHORIZED=0 would switch off both.
 */
function pinned(certificate: string) {
  return {
    rejectUnauthorized: true,
    checkServerIdentity: (_: string, shown: { raw: Buffer }) =>
      new X509Certificate(certificate).raw.equals(shown.raw) ? undefined : new Error("another certificate"),
  };
}

function credentialsFor(certificate: string | undefined): ChannelCredentials {
  return certificate === undefined
    ? credentials.createInsecure()
    : credentials.createSsl(Buffer.from(certificate), null, null, pinned(certificate));
}

/** The finding at an endpoint without a connection, by another attempt: gRPC gives the reason in prose only. */
function connectFailure({ endpoint: { path, address }, certificate }: Route): Promise<Finding> {
  const where = path === undefined ? { host: address?.host, port: address?.port ?? 0 } : { path };
  return new Promise((resolve) => {
    const socket =
      certificate === undefined
        ? connect(where)
        : connectTls({ ...where, ca: certificate, servername: SERVER_NAME, ...pinned(certificate) });
    const finish = (finding: Finding) => {
      socket.destroy();
      resolve(finding);
    };
    socket.setTimeout(MIN_ATTEMPT, () => finish(findingOf("ETIMEDOUT")));
    socket.once(certificate === undefined ? "connect" : "secureConnect", () => finish(findingOf(undefined)));
    socket.once("error", ({ code }: NodeJS.ErrnoException) => {
      // Codes of the operating system; all others are those of a handshake with another program.
      const isOfSystem = code !== undefined && /^E[A-Z]+$/.test(code) && code !== "EPROTO";
      finish(isOfSystem ? findingOf(code, path) : OTHER_PROGRAM);
    });
  });
}

function closed(): FailedError {
  return own(status.CANCELLED, "NOT_SENT", "the client is closed");
}
