/**
 * Which messages of a session wait for their answer, and which one restarts it after a failure: no I/O.
 *
 * A failure is noticed late: messages that were sent before are answered PRECEDING_FAILED by the broker. Only a message
 * of somebody who knew of every failure may say `restart`, for only that one was decided on in their light.
 */

/**
 * How an answer tells that its message failed; `preceding_failed`: not by itself, but because a message before it had
 * failed.
 */
export type Outcome = "done" | "failed" | "preceding_failed";

interface Message<Waiter> {
  id: number;
  restartedCount: number;
  waiter: Waiter;
}

/** The messages without an answer, each with who waits for it. */
export class Pipeline<Waiter> {
  #lastId = 0;
  #unanswered: Message<Waiter>[] = [];
  #failureCount = 0;
  /** How many failures had been restarted from with the latest message. */
  #restartedCount = 0;

  get length(): number {
    return this.#unanswered.length;
  }

  /**
   * Adds a message of somebody who knew of so many failures. Returns its id, and whether it says `restart`: as its
   * sender wishes, or where it is needed.
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
   * Takes out the message that an answer belongs to, with the count of failures that the answer makes known.
   * `undefined` if it is not this message's turn to be answered.
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

  /** Takes out all messages, because no answer will come any more. */
  drain(): Waiter[] {
    return this.#unanswered.splice(0).map(({ waiter }) => waiter);
  }
}
