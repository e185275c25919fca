/** Turns: on which terms a program waits for the card, and how it follows its own waiting requests. */

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
 * Whether a turn needs a usable card: fail at once without one, wait for one, or take the turn without (not implemented
 * yet).
 */
export type CardRequirement = Word<typeof WireRequirement>;

/** A reset of the card: none, warm, or cold, which cuts its power. */
export type CardReset = Word<typeof WireReset>;

/** What happens to the card after a turn: it is left as it is, reset (warm), or its power is cut. */
export type Disposition = Word<typeof WireDisposition>;

/** The terms of a turn. */
export interface TurnOptions {
  /** How long to wait for the turn, in ms, at most 24 h. Default: 30 s; 0 means now or never. */
  waitTimeout?: number;
  /**
   * `AWAITED`: wait, as long as `waitTimeout`, for a usable card instead of failing without one. Default: `REQUIRED`.
   */
  card?: CardRequirement;
  /** Fail, not sent, unless the card is still in this insertion (`Reader.insertionId`). */
  ifInsertionId?: string;
  /** Fail, not sent, if anybody used or reset the card since (`Transmitted.stateTag`). */
  ifStateTag?: string;
  /** What happens to the card before the first command. Default: `NONE`; others need the permission `reset`. */
  resetBefore?: CardReset;
}

/** A request that waits for its turn. */
export interface WaitingTurn {
  /** The reader's name: `readers/{id}`. */
  readonly reader: string;
  /** Whether a session is to be opened, or a unit to be run. */
  readonly isSession: boolean;
  /** About how many turns come before it. */
  readonly turnsAhead: number;
  /** When it arrived. */
  readonly arriveTime?: Date;
  /** When it gives up. */
  readonly deadlineTime?: Date;
  /** The turn that the card is in; absent if nobody holds it. */
  readonly holder?: TurnHolder;
}

/** A turn that has begun. */
export interface TurnHolder {
  /** Whether it is the caller's own. */
  readonly isOwn: boolean;
  /** Whether it is a session; otherwise it is a unit. */
  readonly isSession: boolean;
  /** When it began. */
  readonly beginTime?: Date;
}

/** The terms as they go to the broker; `undefined` where all are the defaults. */
export function turnToWire(options: TurnOptions): WireTurn | undefined {
  const { waitTimeout, card, ifInsertionId = "", ifStateTag = "", resetBefore } = options;
  const wire = WireTurn.create({
    waitTimeout: waitTimeout === undefined ? undefined : toDuration(waitTimeout, "turn.wait_timeout"),
    ifInsertionId,
    ifStateTag,
  });
  wire.card = fromWord(WireRequirement, card, "turn.card");
  wire.resetBefore = fromWord(WireReset, resetBefore, "turn.reset_before");
  const set = wire.waitTimeout || wire.card || ifInsertionId || ifStateTag || wire.resetBefore;
  return set ? wire : undefined;
}

/** What happens to the card afterwards, as it goes to the broker. */
export function dispositionToWire(disposition: Disposition | undefined): WireDisposition {
  return fromWord(WireDisposition, disposition, "disposition");
}

/** A waiting request as it is shown. */
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
