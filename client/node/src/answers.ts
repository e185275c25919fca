/** Asks many times ahead and tells the answers in order: the flow of an iteration, whatever it carries. */

/**
 * Begins `ask` for each item of `items`, with at most `most` of them unanswered, and tells how each ended, in their
 * order. A failure does not end the iteration.
 */
export async function* answers<Item, Answer>(
  items: Iterable<Item> | AsyncIterable<Item>,
  ask: (item: Item) => Promise<Answer>,
  most: number,
): AsyncGenerator<PromiseSettledResult<Answer>, void, void> {
  const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const pull = () => {
    const next = Promise.resolve(source.next());
    // Heard when there is room for it.
    next.catch(() => {});
    return next;
  };
  const asked: Promise<PromiseSettledResult<Answer>>[] = [];
  let next: Promise<IteratorResult<Item>> | undefined = pull();
  try {
    for (;;) {
      const [oldest] = asked;
      if (next && asked.length < most) {
        // Whatever comes first: another item, or the oldest answer.
        const item = await (oldest ? Promise.race([next, oldest.then(() => undefined)]) : next);
        if (item?.done) {
          next = undefined;
          continue;
        }
        if (item) {
          asked.push(settled(ask(item.value)));
          next = pull();
          continue;
        }
      }
      if (!oldest) {
        return;
      }
      void asked.shift();
      yield await oldest;
    }
  } finally {
    if (next) {
      await source.return?.();
    }
  }
}

function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  return promise.then(
    (value) => ({ status: "fulfilled", value }),
    (reason: unknown) => ({ status: "rejected", reason }),
  );
}
