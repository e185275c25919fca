/**
 * The driver for the conformance kit, see proto/conformance: does what each line of JSON on the standard input says,
 * through the public API only, and prints an answer a line, in the order of the lines.
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

/** What is there to work with; each is there once it has come about. */
let client: Promise<Client> = Promise.reject(new Error("not connected"));
let session: Promise<Session> = Promise.reject(new Error("no session is open"));
let turns: Promise<Ahead<readonly WaitingTurn[]>> = Promise.reject(new Error("no turn is watched"));
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
    // A reader that there is not is told at once, what the broker says with the next order.
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

/** The next item of an iterator; the first one has been asked for before. */
type Ahead<T> = () => Promise<IteratorResult<T, unknown>>;

/** Iterators begin when they are first asked; the kit wants to see that they have begun. */
function ahead<T>(iterator: AsyncIterator<T, unknown>, begun = iterator.next()): Ahead<T> {
  let first: Promise<IteratorResult<T, unknown>> | undefined = begun;
  begun.catch(() => {});
  return () => {
    const next = first ?? iterator.next();
    first = undefined;
    return next;
  };
}

/** The readers once they are no longer as they were shown last. */
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

/** What an operation gives, or how it fails. */
async function answer(run: () => unknown, isInSession: boolean): Promise<Json> {
  try {
    return { ok: await run() };
  } catch (error) {
    if (!(error instanceof CardbrokerError)) {
      throw error;
    }
    const { kind, failure, isPermanent: permanent } = error;
    const told = { kind, failure: failureToJson(failure), permanent };
    if (!(error instanceof StoppedError)) {
      return { error: told };
    }
    const response = transmittedToJson(error.partial);
    return { error: { ...told, index: error.index, response: isInSession ? within(response) : response } };
  }
}

/** Each answer waits for the one before, but is under way at once. */
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
  // A failure of the driver itself ends it, with the stack on the standard error.
  printed.catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
lines.on("close", () => void printed.then(() => process.exit(0)));
