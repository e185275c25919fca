//! The life cycle of one reader and its card, as a state machine. Events come from the monitor and from the card
//! thread; the machine decides the next action, the status for watchers, and the refusals of waiters. No clock and no
//! I/O: `now` is an argument.
//!
//! Each event returns the refusal for waiters that require a card at once ([`CardRequirement::Required`]), if there is
//! one now. Waiters for a card go on waiting.
//!
//! ```text
//!                    card seen                    taken
//!   Empty ────────────────────────▶ Settling ───────────────▶ Ready (also from Empty, by a look)
//!     ▲  (own: on_demand, never)      │  ▲                      │
//!     │◀─────────── Released ◀────────┼──┼─ released ───────────┤
//!     │                └── demand ────┼─▶│ exchange lost, reset │
//!     │ removed, from any             │  │ by others ◀──────────┘
//!     │                 held for 2 s ─┼─▶ Held (tries on)
//!     └──── Mute ◀── 3 cold resets ───┘   (silent, or no protocol in common)
//!   Unavailable: from and to any, as PC/SC goes and comes
//! ```
//!
//! [`CardRequirement::Required`]: crate::turns::turn::CardRequirement::Required

mod events;
mod facts;
pub mod fault;
mod look;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::look::Look;
use crate::slot::{CardInfo, ProtocolChoice, SlotStatus};

/// How long another program may hold a new card before the reader's status shows it.
const HELD_AFTER: Duration = Duration::from_secs(2);
/// The wait between tries when there is no hurry left: held elsewhere, or card stack and monitor disagree.
const SLOW_RETRY: Duration = Duration::from_millis(500);
/// The maximum number of cold resets of a silent card.
const MAX_COLD_RESETS: u32 = 3;

/// When the broker holds a reader's card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Own {
    /// Always, from the broker's start: no other program gets access.
    #[default]
    Always,
    /// While there are requests, and for the reader's `release_after` after them, so that gpg and browsers can use the
    /// card too.
    OnDemand,
    /// Never: the reader is listed, and its requests are refused.
    Never,
}

/// The next task of the card thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take the card exclusively and reset it.
    Take,
    /// Reset a silent card by cutting its power.
    ColdReset,
    /// Give the next request its turn.
    Serve,
    /// Let the card go, for other programs.
    Release,
}

/// How a unit has left the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitEnd {
    /// The card works; ATR and protocol as of the last reset.
    InOrder(CardInfo),
    /// The card was taken out.
    Removed,
    /// It may be another card: it must be taken again, as a new insertion.
    Lost,
    /// PC/SC has failed; the text gives the cause.
    Unavailable(String),
}

/// The state machine of one reader. Owned by the reader's actor.
pub struct CardLifecycle {
    /// When the broker holds the card, from the reader's settings. Never changes.
    own: Own,
    /// The time from the last use of the card to its release, with [`Own::OnDemand`]. Never changes.
    release_after: Duration,
    /// The protocols that the card may use, from the reader's settings. Never changes.
    protocols: ProtocolChoice,
    /// The beginning of insertion ids and state tags: unique to this broker's run and this reader.
    identity: String,
    /// The current state. Changed by events, and by [`CardLifecycle::take_action`] when something is due.
    phase: Phase,
    /// The monitor's latest status of the slot. `None` before the first one, and from an outage of PC/SC or the
    /// unplugging of the reader to the next one.
    seen: Option<SlotStatus>,
    /// Whether the monitor's report of an empty reader came with an event, so that the next card raises one, too. If
    /// not, the report is the effect of a failed call.
    is_removal_noticed: bool,
    /// The number of insertions so far, for insertion ids. An insertion also counts when the broker cannot know that
    /// the card is still the same.
    insertion_count: u64,
    /// The number of turns, resets, releases and insertions so far, for state tags.
    state_count: u64,
    /// Whether a call has not returned in time. Set by [`CardLifecycle::on_hang`], cleared when the card thread reports
    /// the end of its job.
    unresponsive: bool,
    /// The cause of the latest [`Phase::Unavailable`], for people. Shown in that phase only.
    unavailable_because: String,
    /// Whether the slot may hold an exclusive handle, with or without a card. Set by [`CardLifecycle::on_taken`],
    /// cleared by [`CardLifecycle::on_released`].
    holds: bool,
    /// Whether the card was reset since the last turn began. Cleared by [`CardLifecycle::on_turn`].
    reset_since_turn: bool,
    /// The monitor's event count at the latest [`Action::Take`] or [`Action::ColdReset`], which shows whether another
    /// card has come meanwhile. `None` before the first, or if the monitor had no status then.
    taken_at: Option<u32>,
}

/// The state of the reader and its card.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// PC/SC does not serve the reader, or the monitor has not reported it yet.
    Unavailable {
        /// The earliest time of the next try. No try is due while the monitor has no status.
        retry: Instant,
    },
    /// No card is in the reader, as far as the broker knows.
    Empty {
        /// When the broker tries to take a card all the same, because a call of its own has failed and the monitor may
        /// have missed a removal or a swap. `None` if the monitor alone is trusted.
        look: Option<Look>,
    },
    /// A card is present, and the broker does not hold it: on demand without requests, or never.
    Released,
    /// A card is present, and the broker tries to take it.
    Settling {
        /// When the tries began. A card that others hold [`HELD_AFTER`] later is [`Phase::Held`].
        since: Instant,
        /// The time of the next try; the past if it is due.
        retry: Instant,
        /// The number of failed tries since `since`, which determines the next wait.
        tries: u32,
        /// The number of these tries in which the card was silent, or spoke no allowed protocol. From the first on,
        /// each further try is a cold reset.
        cold_resets: u32,
    },
    /// The broker holds the card, which is usable.
    Ready {
        /// The ATR and protocol as of the last reset.
        card: CardInfo,
        /// When the card was taken, or its last turn or reset ended. `release_after` counts from here.
        last_used: Instant,
    },
    /// The card is unusable until it is removed, after [`MAX_COLD_RESETS`] cold resets.
    Mute {
        /// Whether the card answers, but with none of the allowed protocols. Otherwise it is silent.
        speaks_another: bool,
    },
    /// Another program holds the card. The broker goes on trying while it wants the card.
    Held {
        /// The time of the next try, [`SLOW_RETRY`] after the last.
        retry: Instant,
        /// As in [`Phase::Settling`]. Above zero if the card was silent before another program prevented a cold reset.
        cold_resets: u32,
    },
}

impl CardLifecycle {
    /// Creates the life cycle of a reader without a known status. `identity` must be unique among all readers of all
    /// runs.
    pub fn new(own: Own, release_after: Duration, protocols: ProtocolChoice, identity: String, now: Instant) -> Self {
        Self {
            own,
            release_after,
            protocols,
            identity,
            phase: Phase::Unavailable { retry: now },
            seen: None,
            is_removal_noticed: true,
            insertion_count: 0,
            state_count: 0,
            unresponsive: false,
            holds: false,
            reset_since_turn: false,
            taken_at: None,
            unavailable_because: "the state of the reader is not known yet: retry".into(),
        }
    }

    /// Moves to the next state that is due, and returns the action for now; `demand` is whether requests wait for a
    /// turn. `None`: wait for an event or for [`CardLifecycle::deadline`].
    pub fn take_action(&mut self, now: Instant, demand: bool) -> Option<Action> {
        let action = self.due_action(now, demand);
        if matches!(action, Some(Action::Take | Action::ColdReset)) {
            self.taken_at = self.seen.as_ref().map(|seen| seen.event_count);
        }
        action
    }

    fn due_action(&mut self, now: Instant, demand: bool) -> Option<Action> {
        match &mut self.phase {
            Phase::Unavailable { retry } if self.seen.is_some() && *retry <= now => {
                if self.own == Own::Always && self.sees_card() {
                    return Some(Action::Take);
                }
                self.settle(now, true);
            }
            Phase::Empty { look: Some(look) } if look.at <= now => {
                look.serves = demand;
                if look.may_take(self.own, self.holds, demand) {
                    return Some(Action::Take);
                }
                self.settle(now, true);
            }
            Phase::Released if self.own == Own::OnDemand && demand => {
                self.phase = Phase::Settling { since: now, retry: now, tries: 0, cold_resets: 0 };
            }
            Phase::Held { .. } if self.own == Own::OnDemand && !demand => self.phase = Phase::Released,
            _ => {}
        }
        match &self.phase {
            Phase::Settling { retry, cold_resets, .. } | Phase::Held { retry, cold_resets } if *retry <= now => {
                Some(if *cold_resets > 0 { Action::ColdReset } else { Action::Take })
            }
            Phase::Ready { .. } if demand => Some(Action::Serve),
            Phase::Ready { last_used, .. } if self.own == Own::OnDemand && *last_used + self.release_after <= now => {
                Some(Action::Release)
            }
            Phase::Released | Phase::Mute { .. } | Phase::Empty { look: None }
                if self.own == Own::OnDemand && self.holds && !demand =>
            {
                Some(Action::Release)
            }
            _ => None,
        }
    }

    /// The time to call [`CardLifecycle::take_action`] again without an event.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Unavailable { retry } => self.seen.as_ref().map(|_| *retry),
            Phase::Empty { look } => look.map(|look| look.at),
            Phase::Settling { retry, .. } | Phase::Held { retry, .. } => Some(*retry),
            Phase::Ready { last_used, .. } if self.own == Own::OnDemand => Some(*last_used + self.release_after),
            Phase::Ready { .. } | Phase::Released | Phase::Mute { .. } => None,
        }
    }

    /// The usable card; `None` before it was taken.
    pub fn card(&self) -> Option<&CardInfo> {
        match &self.phase {
            Phase::Ready { card, .. } => Some(card),
            _ => None,
        }
    }

    /// Whether the card was reset since the last turn began.
    pub fn was_reset_since_turn(&self) -> bool {
        self.reset_since_turn
    }

    /// A turn begins: the state tag changes.
    pub fn on_turn(&mut self) {
        self.reset_since_turn = false;
        self.state_count += 1;
    }

    fn sees_card(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.card_present)
    }

    fn settle(&mut self, now: Instant, is_new_insertion: bool) {
        if !self.sees_card() {
            self.phase = Phase::Empty { look: None };
            return;
        }
        if is_new_insertion {
            self.insertion_count += 1;
            self.state_count += 1;
        }
        self.phase = match self.own {
            Own::Always => Phase::Settling { since: now, retry: now, tries: 0, cold_resets: 0 },
            Own::OnDemand | Own::Never => Phase::Released,
        };
    }
}

#[cfg(test)]
mod tests;
