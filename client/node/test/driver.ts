/**
 * The driver for the conformance kit, see proto/conformance: runs the operation in each line of JSON from the standard
 * input through the public API (except for the search for a broker), and prints one answer per line in the same order.
 */

import { createInterface } from "node:readline";

import {
  CardbrokerError,
  Client,
  InvalidError,
  type Reader,
  type Session,
  StoppedError,
  type WaitingTurn,
  type Watch,
  type WatchEvent,
  meaning,
  parseEndpoint,
} from "cardbroker";

import {
  brokerToJson,
  commandsFromJson,
  failureToJson,
  type Json,
  milliseconds,
  readerToJson,
  resetFromJson,
  sessionToJson,
  termsFromJson,
  transmittedToJson,
  within,
  word,
} from "./mapping.js";
import { find } from "./places.js";

/** The client, session and watches of earlier operations. */
let client: Promise<Client> = Promise.reject(new Error("not connected"));
let session: Promise<Session> = Promise.reject(new Error("no session is open"));
let turns: Promise<Ahead<readonly WaitingTurn[]>> = Promise.reject(new Error("there is no watch of turns"));
let watch: Promise<Watch> = Promise.reject(new Error("there is no watch"));
let events: Promise<Ahead<WatchEvent>> = watch.then((watch) => ahead(watch));
let shown: string | undefined;
const opening = new AbortController();
client.catch(() => {});
session.catch(() => {});
turns.catch(() => {});
events.catch(() => {});

const operations: Record<string, (order: Json) => unknown> = {
  connect: async ({ endpoint, group, token_file: tokenFile, connect_timeout: seconds }) => {
    const connectTimeout = seconds === undefined ? undefined : seconds * 1000;
    client = Client.connect({ endpoint, group, tokenFile, connectTimeout });
    await client;
    return {};
  },
  get_broker: async () => brokerToJson(await (await client).getBroker()),
  readers: async () => ({ readers: (await (await client).readers()).map(readerToJson) }),
  reader: async ({ name }) => readerToJson(await (await client).reader(name)),
  watch: async () => {
    watch = client.then((client) => client.watch());
    events = watch.then((watch) => ahead(watch));
    await events;
    return {};
  },
  watch_next: nextReaders,
  watch_turn: async ({ reader }) => {
    const begun = client.then((client) => {
      const watched = client.watchTurn({ reader });
      const first = watched.next();
      return { first, next: ahead(watched, first) };
    });
    turns = begun.then(({ next }) => next);
    const { first } = await begun;
    // An invalid reader fails at once, a failure of the broker with the next order.
    await first.catch((error: unknown) => {
      if (error instanceof InvalidError) {
        throw error;
      }
    });
    return {};
  },
  turn_next: async () => ({
    waiting: (((await (await turns)()).value ?? []) as readonly WaitingTurn[]).map(waitingToJson),
  }),
  transmit: async ({ request, deadline, repeat: repeatable, any_card: anyCard }) => {
    const { reader, commands, turn, request_id: requestId, disposition } = request;
    const transmitted = await (
      await client
    ).transmit(reader, commandsFromJson(commands), {
      ...termsFromJson(turn),
      disposition: word("DISPOSITION", disposition),
      requestId: requestId && Buffer.from(requestId, "base64"),
      timeout: deadline === undefined ? undefined : deadline * 1000,
      repeatable,
      anyCard,
    });
    return transmittedToJson(transmitted);
  },
  open: async ({ request }) => {
    const { reader, turn, idle_timeout: idle, disposition } = request;
    session = client.then((client) =>
      client.openSession(reader, {
        ...termsFromJson(turn),
        idleTimeout: milliseconds(idle),
        disposition: word("DISPOSITION", disposition),
        signal: opening.signal,
      }),
    );
    return sessionToJson(await session);
  },
  session_transmit: async ({ request, restart }) => runIn(await session, { transmit: request, restart }),
  session_reset: async ({ request, restart }) => runIn(await session, { reset: request, restart }),
  session_pipeline: async ({ messages }) => {
    const open = await session;
    const answers = (messages as Json[]).map((message) => answer(() => runIn(open, message), true));
    return { answers: await Promise.all(answers) };
  },
  session_close: async () => {
    await (await session).close();
    return {};
  },
  session_drop: async () => {
    opening.abort();
    await session.then(
      (session) => session.abort(),
      () => {},
    );
    return {};
  },
  parse_endpoint: ({ text }) => ({ endpoint: parseEndpoint(text).text }),
  find: ({ uid, environment, found }) => find(uid, environment, found),
  meaning: ({ status_word: statusWord }) => ({ text: meaning(statusWord) }),
};

async function runIn(session: Session, { transmit, reset, restart }: Json): Promise<Json> {
  if (reset) {
    const atr = await session.reset(resetFromJson(reset.reset), { restart });
    return { atr: atr.toString("base64") };
  }
  const options = { restart };
  return within(transmittedToJson(await session.transmit(commandsFromJson(transmit.commands), options)));
}

/** An iterator with its next item, which is requested in advance. */
type Ahead<T> = () => Promise<IteratorResult<T, unknown>>;

/** Requests the first item at once, because the kit expects the call and iterators begin with their first `next`. */
function ahead<T>(iterator: AsyncIterator<T, unknown>, begun = iterator.next()): Ahead<T> {
  let first: Promise<IteratorResult<T, unknown>> | undefined = begun;
  begun.catch(() => {});
  return () => {
    const next = first ?? iterator.next();
    first = undefined;
    return next;
  };
}

/** Waits until the readers differ from the last answer. */
async function nextReaders(): Promise<Json> {
  for (;;) {
    const event = await (await events)();
    if (event.done) {
      throw new Error("there is no watch");
    }
    const readers = [...(await watch).readers.values()].sort(byName).map(readerToJson);
    const now = JSON.stringify(readers);
    if (event.value.type !== "disconnected" && now !== shown) {
      shown = now;
      return { readers };
    }
  }
}

function byName(one: Reader, other: Reader): number {
  return one.name < other.name ? -1 : 1;
}

function waitingToJson({ reader, isSession, turnsAhead, arriveTime, deadlineTime, holder }: WaitingTurn): Json {
  return {
    reader,
    is_session: isSession,
    turns_ahead_count: turnsAhead,
    arrive_time: arriveTime,
    deadline_time: deadlineTime,
    holder: holder && { is_own: holder.isOwn, is_session: holder.isSession, begin_time: holder.beginTime },
  };
}

/** The result of an operation, or its failure. */
async function answer(run: () => unknown, isInSession: boolean): Promise<Json> {
  try {
    return { ok: await run() };
  } catch (error) {
    if (!(error instanceof CardbrokerError)) {
      throw error;
    }
    const { kind, failure, isPermanent: permanent } = error;
    const details = { kind, failure: failureToJson(failure), permanent };
    if (!(error instanceof StoppedError)) {
      return { error: details };
    }
    const response = transmittedToJson(error.partial);
    return { error: { ...details, index: error.index, response: isInSession ? within(response) : response } };
  }
}

/** Answers are printed in order, but operations begin at once. */
let printed: Promise<void> = Promise.resolve();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const order = JSON.parse(line);
  const run = operations[order.op];
  if (!run) {
    throw new Error(`no operation is called ${order.op}`);
  }
  const answered = answer(() => run(order), order.op.startsWith("session"));
  printed = printed.then(async () => {
    process.stdout.write(`${JSON.stringify(await answered)}\n`);
  });
  // A failure of the driver itself ends the process with a stack trace on the standard error.
  printed.catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
lines.on("close", () => void printed.then(() => process.exit(0)));
