//! The events of the life cycle: what the monitor and the card thread have found, and the next phase.

use std::time::{Duration, Instant};

use super::{CardLifecycle, HELD_AFTER, MAX_COLD_RESETS, Own, Phase, SLOW_RETRY, UnitEnd, look::Look};
use crate::{
    error::Failure,
    slot::{CardInfo, SlotError, SlotStatus},
    status::card_removed,
};

/// The wait before the second try to take a card; it doubles from try to try.
const FIRST_RETRY: Duration = Duration::from_millis(10);
/// The longest wait between two tries while settling.
const LAST_RETRY: Duration = Duration::from_millis(200);

impl CardLifecycle {
    /// The monitor has looked at the slot. Returns a refusal for waiters.
    pub fn on_status(&mut self, status: SlotStatus, now: Instant) -> Option<Failure> {
        let before = self.seen.replace(status);
        let status = self.seen.as_ref()?;
        let had_card = matches!(
            self.phase,
            Phase::Settling { .. } | Phase::Ready { .. } | Phase::Released | Phase::Mute { .. } | Phase::Held { .. }
        );
        // Without an event in between, a card that was found by a look is the one that the monitor has missed.
        let is_found = matches!(self.phase, Phase::Ready { .. } | Phase::Released);
        let is_missed = is_found
            && before.as_ref().is_some_and(|before| !before.card_present && before.event_count == status.event_count);
        if !status.card_present {
            if is_missed {
                return None;
            }
            let has_event = before.as_ref().is_none_or(|before| before.event_count != status.event_count);
            let was_empty = before.is_some_and(|before| !before.card_present);
            self.is_removal_noticed = has_event || was_empty && self.is_removal_noticed;
            let is_looking = matches!(self.phase, Phase::Empty { .. });
            if had_card || is_looking && has_event || matches!(self.phase, Phase::Unavailable { .. }) {
                self.phase = Phase::Empty { look: None };
            }
            return had_card.then(card_removed);
        }
        let is_another =
            !is_missed && before.is_none_or(|before| !before.card_present || before.event_count != status.event_count);
        if is_another {
            self.settle(now, true);
        } else if let Phase::Settling { retry, .. } = &mut self.phase {
            *retry = now;
        }
        (is_another && had_card).then(card_removed)
    }

    /// PC/SC no longer serves the reader. Returns a refusal for waiters.
    pub fn on_unavailable(&mut self, because: String, now: Instant) -> Option<Failure> {
        self.seen = None;
        self.fail(because, now);
        self.refusal()
    }

    /// A call has not returned in time. Returns a refusal for waiters.
    pub fn on_hang(&mut self) -> Option<Failure> {
        self.unresponsive = true;
        self.refusal()
    }

    /// The card thread has tried [`Take`](super::Action::Take) or [`ColdReset`](super::Action::ColdReset). Returns a
    /// refusal for waiters.
    pub fn on_taken(&mut self, taken: Result<CardInfo, SlotError>, now: Instant) -> Option<Failure> {
        self.unresponsive = false;
        self.holds |= !matches!(&taken, Err(error) if *error == SlotError::Held || error.is_removal());
        let has_event = self.seen.as_ref().map(|seen| seen.event_count) != self.taken_at;
        let is_look = matches!(self.phase, Phase::Empty { look: Some(_) });
        match taken {
            // The card has left in the meantime. The monitor is right: it also reports the next card.
            Ok(_) if !self.sees_card() && (has_event || !is_look) => self.look_again(now),
            // Another card may have come while this one was taken.
            Ok(_) if has_event => self.settle(now, false),
            Ok(card) => {
                if is_look || matches!(self.phase, Phase::Unavailable { .. }) {
                    self.insertion_count += 1;
                }
                self.reset_since_turn = true;
                self.state_count += 1;
                self.phase = match self.phase {
                    // A new card, which is not held before somebody asks for it.
                    Phase::Empty { look: Some(look) } if self.own == Own::OnDemand && !look.serves => Phase::Released,
                    _ => Phase::Ready { card, last_used: now },
                };
            }
            Err(error) if error.is_removal() => self.on_no_card(now),
            // A handle that is refused was new: neither the card nor another program is the cause.
            Err(error @ (SlotError::Service(_) | SlotError::ReaderGone | SlotError::StaleHandle)) => {
                self.fail(error.to_string(), now);
            }
            Err(error) => self.retry(&error, now),
        }
        self.refusal()
    }

    /// A unit has ended. Returns a refusal for waiters.
    pub fn on_unit_ended(&mut self, end: UnitEnd, now: Instant) -> Option<Failure> {
        let was_unresponsive = std::mem::take(&mut self.unresponsive);
        // The monitor's report in the meantime is newer. It may be the effect of the failed call, though, and then the
        // next card raises no event.
        if !matches!(self.phase, Phase::Ready { .. }) {
            if matches!((&self.phase, &end), (Phase::Empty { look: None }, UnitEnd::Removed | UnitEnd::Lost)) {
                self.on_no_card(now);
            }
            return self.refusal();
        }
        match end {
            // The card may have been swapped during the hang, without a poll.
            UnitEnd::InOrder(_) if was_unresponsive => self.settle(now, true),
            UnitEnd::InOrder(card) => self.phase = Phase::Ready { card, last_used: now },
            UnitEnd::Lost => self.settle(now, true),
            UnitEnd::Removed => {
                // The monitor may not have noticed yet, and never will if the card was swapped between two of its
                // polls.
                self.on_no_card(now);
                return Some(card_removed());
            }
            UnitEnd::Unavailable(because) => self.fail(because, now),
        }
        self.refusal()
    }

    /// The card thread has reset the card: between groups, after a turn, or for a session. Returns a refusal for
    /// waiters.
    pub fn on_reset(&mut self, reset: Result<CardInfo, SlotError>, now: Instant) -> Option<Failure> {
        match reset {
            Ok(card) => {
                self.reset_since_turn = true;
                self.state_count += 1;
                self.on_unit_ended(UnitEnd::InOrder(card), now)
            }
            Err(error) if error.is_removal() => self.on_unit_ended(UnitEnd::Removed, now),
            Err(error @ (SlotError::Service(_) | SlotError::StaleHandle | SlotError::ReaderGone)) => {
                self.on_unit_ended(UnitEnd::Unavailable(error.to_string()), now)
            }
            Err(_) => self.on_unit_ended(UnitEnd::Lost, now),
        }
    }

    /// Another program has reset the card, and the card thread reset it again: it may be another card. Returns a
    /// refusal for waiters.
    pub fn on_foreign_reset(&mut self, card: CardInfo, now: Instant) -> Option<Failure> {
        self.insertion_count += 1;
        self.on_reset(Ok(card), now)
    }

    /// A session has left the card without a reset. Returns a refusal for waiters.
    pub fn on_left_as_is(&mut self, now: Instant) -> Option<Failure> {
        match self.card().cloned() {
            Some(card) => self.on_unit_ended(UnitEnd::InOrder(card), now),
            None => {
                self.unresponsive = false;
                self.refusal()
            }
        }
    }

    /// The card thread has let the card go.
    pub fn on_released(&mut self) {
        self.unresponsive = false;
        self.holds = false;
        if matches!(self.phase, Phase::Ready { .. }) {
            self.reset_since_turn = true;
            self.state_count += 1;
            self.phase = Phase::Released;
        }
    }

    /// A call has met no card: looks again, in a series, unless the monitor will tell of the next card.
    fn on_no_card(&mut self, now: Instant) {
        self.phase = match self.phase {
            _ if !self.sees_card() && self.is_removal_noticed => Phase::Empty { look: None },
            Phase::Empty { look: Some(look) } => Phase::Empty { look: look.next(now, self.sees_card()) },
            _ => Phase::Empty { look: Some(Look::first(now)) },
        };
    }

    /// A look has found nothing that can be used: goes on with the series. No effect in other phases.
    fn look_again(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Empty { look: Some(_) }) {
            self.on_no_card(now);
        }
    }

    fn fail(&mut self, because: String, now: Instant) {
        self.unavailable_because = because;
        self.phase = Phase::Unavailable { retry: now + SLOW_RETRY };
    }

    /// The card is present but could not be taken: tries again, up to the limit for this kind of error.
    fn retry(&mut self, error: &SlotError, now: Instant) {
        let speaks_another = *error == SlotError::ProtocolMismatch;
        let is_silent = speaks_another || matches!(error, SlotError::Mute(_) | SlotError::Lost(_));
        self.phase = match self.phase {
            Phase::Unavailable { .. } => return self.settle(now, true),
            Phase::Settling { cold_resets, .. } | Phase::Held { cold_resets, .. }
                if is_silent && cold_resets >= MAX_COLD_RESETS =>
            {
                Phase::Mute { speaks_another }
            }
            Phase::Settling { since, tries, cold_resets, .. } => {
                let cold_resets = cold_resets + u32::from(is_silent);
                let backoff = FIRST_RETRY.saturating_mul(1 << tries.min(16)).min(LAST_RETRY);
                if !is_silent && now.saturating_duration_since(since) >= HELD_AFTER {
                    Phase::Held { retry: now + SLOW_RETRY, cold_resets }
                } else {
                    Phase::Settling { since, retry: now + backoff, tries: tries.saturating_add(1), cold_resets }
                }
            }
            Phase::Held { cold_resets, .. } => {
                Phase::Held { retry: now + SLOW_RETRY, cold_resets: cold_resets + u32::from(is_silent) }
            }
            Phase::Empty { .. } => return self.look_again(now),
            ref other => other.clone(),
        };
    }
}
