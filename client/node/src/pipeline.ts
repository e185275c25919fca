/**
 * The unanswered messages of a session, and the decision which message restarts it after a failure. No I/O.
 *
 * A failure arrives late: the broker answers the messages sent before its arrival with PRECEDING_FAILED. Only a message
 * of a caller that knew of every failure may set `restart`, because only that caller took the failures into account.
 */

/**
 * The outcome of a message; `preceding_failed`: it failed because a message before it had failed.
 */
export type Outcome = "done" | "failed" | "preceding_failed";

interface Message<Waiter> {
  id: number;
  restartedCount: number;
  waiter: Waiter;
}

/** The messages without an answer, each with its waiter. */
export class Pipeline<Waiter> {
  #lastId = 0;
  #unanswered: Message<Waiter>[] = [];
  #failureCount = 0;
  /** The failure count at the latest message with `restart`. */
  #restartedCount = 0;

  get length(): number {
    return this.#unanswered.length;
  }

  /**
   * Adds a message of a caller that knew of `knownFailureCount` failures. Returns its id and its `restart`: the
   * sender's own choice, else the pipeline's.
   */
  send(knownFailureCount: number, waiter: Waiter, wish?: boolean): { id: number; restart: boolean } {
    this.#lastId += 1;
    const needed = this.#restartedCount < this.#failureCount && knownFailureCount === this.#failureCount;
    const restart = wish ?? needed;
    if (restart) {
      this.#restartedCount = this.#failureCount;
    }
    this.#unanswered.push({ id: this.#lastId, restartedCount: this.#restartedCount, waiter });
    return { id: this.#lastId, restart };
  }

  /**
   * Removes the oldest message, which an answer must belong to. Returns its waiter and the failure count so far;
   * `undefined` if the answer belongs to another message.
   */
  answer(id: number, outcome: Outcome): { waiter: Waiter; failureCount: number } | undefined {
    if (this.#unanswered[0]?.id !== id) {
      return undefined;
    }
    const [{ waiter, restartedCount }] = this.#unanswered.splice(0, 1) as [Message<Waiter>];
    const unexplained = restartedCount === this.#failureCount;
    if (outcome === "failed" || (outcome === "preceding_failed" && unexplained)) {
      this.#failureCount += 1;
    }
    return { waiter, failureCount: this.#failureCount };
  }

  /** Removes all messages after the end of the stream. */
  drain(): Waiter[] {
    return this.#unanswered.splice(0).map(({ waiter }) => waiter);
  }
}
