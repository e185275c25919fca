/** Turns: their terms, and the waiting requests of this program. */

import {
  CardRequirement as WireRequirement,
  CardReset as WireReset,
  Disposition as WireDisposition,
  TurnOptions as WireTurn,
  type WaitingTurn as WireWaiting,
} from "../gen/cardbroker/v1/turn.js";
import { fromWord, toDuration } from "./input.js";
import type { Word } from "./words.js";

/**
 * The need for a usable card: fail at once without one, wait for one, or run without (not implemented yet).
 */
export type CardRequirement = Word<typeof WireRequirement>;

/** A reset of the card: none, warm, or cold; a cold reset cuts its power. */
export type CardReset = Word<typeof WireReset>;

/** The treatment of the card after a turn: leave it as it is, reset it (warm), or cut its power. */
export type Disposition = Word<typeof WireDisposition>;

/** The terms of a turn, common to units and sessions. */
export interface TurnOptions {
  /** The longest wait for the turn, in ms, at most 24 h. 0: the turn begins at once or fails. Default: 30 s. */
  waitTimeout?: number;
  /**
   * `AWAITED`: waits up to `waitTimeout` for a usable card. Default: `REQUIRED`, which fails at once without one.
   */
  card?: CardRequirement;
  /** Fails (`NOT_SENT`) unless the card is still in this insertion (`Reader.insertionId`). */
  ifInsertionId?: string;
  /** Fails (`NOT_SENT`) if the card was used or reset since this state tag (`Transmitted.stateTag`). */
  ifStateTag?: string;
  /**
   * Fails (`NOT_SENT`) if the card may hold security state of any caller, this one included, such as a verified PIN.
   */
  ifNotRaised?: boolean;
  /** The reset before the first command. Default: `NONE`; others need the permission `reset`. */
  resetBefore?: CardReset;
}

/** A request that waits for its turn. */
export interface WaitingTurn {
  /** The reader's name: `readers/{id}`. */
  readonly reader: string;
  /** Whether the request opens a session; otherwise it runs a unit. */
  readonly isSession: boolean;
  /**
   * The number of turns ahead, an estimate: a group that has the card may keep it for several turns where that saves a
   * reset.
   */
  readonly turnsAhead: number;
  /** The arrival time of the request. */
  readonly arriveTime?: Date;
  /** The end of the wait. */
  readonly deadlineTime?: Date;
  /** The current turn of the card; absent without a holder. */
  readonly holder?: TurnHolder;
}

/** The current turn of a card. */
export interface TurnHolder {
  /** Whether the turn belongs to this program. */
  readonly isOwn: boolean;
  /** Whether the turn is a session; otherwise it is a unit. */
  readonly isSession: boolean;
  /** The start time of the turn. */
  readonly beginTime?: Date;
}

/** Converts the terms of a turn; `undefined` if all are the defaults. */
export function turnToWire(options: TurnOptions): WireTurn | undefined {
  const { waitTimeout, card, ifInsertionId = "", ifStateTag = "", ifNotRaised = false, resetBefore } = options;
  const wire = WireTurn.create({
    waitTimeout: waitTimeout === undefined ? undefined : toDuration(waitTimeout, "turn.wait_timeout"),
    ifInsertionId,
    ifStateTag,
    ifNotRaised,
  });
  wire.card = fromWord(WireRequirement, card, "turn.card");
  wire.resetBefore = fromWord(WireReset, resetBefore, "turn.reset_before");
  const set = wire.waitTimeout || wire.card || ifInsertionId || ifStateTag || ifNotRaised || wire.resetBefore;
  return set ? wire : undefined;
}

/** Converts the word for the treatment of the card after the turn. */
export function dispositionToWire(disposition: Disposition | undefined): WireDisposition {
  return fromWord(WireDisposition, disposition, "disposition");
}

/** Converts a waiting request of the contract. */
export function waitingTurn({ arriveTime, deadlineTime, holder, ...turn }: WireWaiting): WaitingTurn {
  return {
    reader: turn.reader,
    isSession: turn.isSession,
    turnsAhead: turn.turnsAheadCount,
    ...(arriveTime && { arriveTime }),
    ...(deadlineTime && { deadlineTime }),
    ...(holder && { holder: turnHolder(holder) }),
  };
}

function turnHolder({ isOwn, isSession, beginTime }: NonNullable<WireWaiting["holder"]>): TurnHolder {
  return { isOwn, isSession, ...(beginTime && { beginTime }) };
}
