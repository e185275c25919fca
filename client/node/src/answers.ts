/** A pipelined iteration: keeps several requests in progress and yields their outcomes in order. */

/**
 * Begins `ask` for each item of `items`, with at most `most` of them unanswered, and yields each outcome in their
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
    // A rejection is handled later, when there is room for the item.
    next.catch(() => {});
    return next;
  };
  const asked: Promise<PromiseSettledResult<Answer>>[] = [];
  let next: Promise<IteratorResult<Item>> | undefined = pull();
  try {
    for (;;) {
      const [oldest] = asked;
      if (next && asked.length < most) {
        // Waits for another item or for the oldest answer.
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
