//! The guard's knowledge of a card: rejected values, remaining tries, accepted secrets, names of applications.
//! Bounded.

use std::collections::VecDeque;

use super::{
    counter::{Counter, Names},
    value::{Likeness, Value},
};
use crate::card::selection::ConfirmedName;

/// The most rejected values, and the most counters with known tries, that are stored for one card. Each value has cost
/// a try, so most cards block earlier; otherwise recent values matter more than old ones.
pub(super) const MAX_REMEMBERED: usize = 64;

/// The most secrets that count as verified. Beyond that the oldest one does not.
const MAX_ACCEPTED: usize = 8;

/// Everything that the answers of one card have told the guard. Forgotten as a whole when the card leaves.
#[derive(Default)]
pub(super) struct Memory {
    /// Rejected values with their counters, oldest first.
    pub(super) rejected: VecDeque<Rejected>,
    /// Remaining tries by counter, oldest first.
    pub(super) tries_left: VecDeque<(Counter, u8)>,
    /// The secrets that the card has accepted and still holds for verified, oldest first.
    accepted: VecDeque<Counter>,
    pub(super) names: Names,
}

/// One refusal of a value by the card.
pub(super) struct Rejected {
    counter: Counter,
    value: Value,
    because: Because,
}

/// The possible reasons of a refusal.
enum Because {
    /// The value is wrong, for no other reason.
    Wrong,
    /// `6982`: the value is wrong, or the card wanted another secret before, none of these.
    WrongOrUnready(Vec<Counter>),
}

impl Memory {
    /// Whether the value is known wrong: by one refusal that says so, or by two that make it likely.
    pub(super) fn is_known(&self, counter: &Counter, value: &Value) -> bool {
        let (mut same, mut begins) = (0, false);
        // Refused data with one new value have different old ones.
        let mut new_values = Vec::new();
        for known in self.rejected.iter().filter(|known| known.counter == *counter) {
            match (known.value.likeness(value), &known.because) {
                (Likeness::Same, Because::Wrong) => return true,
                (Likeness::Same, _) => same += 1,
                (Likeness::Similar, _) if new_values.contains(&known.value.ending()) => {}
                (Likeness::Similar, _) => new_values.push(known.value.ending()),
                // Several beginnings of a longer value say no more than one.
                (Likeness::Begins, _) => begins = true,
                (Likeness::Other, _) => {}
            }
        }
        same + new_values.len() + usize::from(begins) >= 2
    }

    /// The number of tries that the counter has left, 1 or more; `None` if it is unknown.
    pub(super) fn tries(&self, counter: &Counter) -> Option<u8> {
        self.tries_left.iter().find(|(known, _)| known == counter).map(|(_, left)| *left)
    }

    /// Whether the counter has one try left.
    pub(super) fn is_last_try(&self, counter: &Counter) -> bool {
        self.tries(counter) == Some(1)
    }

    /// Stores a value that is certainly wrong.
    pub(super) fn reject(&mut self, counter: Counter, value: Value) {
        self.rejected.retain(|known| known.counter != counter || known.value != value);
        push(&mut self.rejected, MAX_REMEMBERED, Rejected { counter, value, because: Because::Wrong });
    }

    /// Stores a value that the card has answered with `6982`. `is_repeat`: it was known wrong before.
    pub(super) fn suspect(&mut self, counter: &Counter, value: &Value, is_repeat: bool) {
        for _ in 0..=u8::from(is_repeat) {
            let because = Because::WrongOrUnready(self.accepted.iter().cloned().collect());
            let (counter, value) = (counter.clone(), value.clone());
            push(&mut self.rejected, MAX_REMEMBERED, Rejected { counter, value, because });
        }
    }

    /// Records that the card has accepted a secret, `None` if nobody knows which one. Refusals that may have been for
    /// want of it say nothing any more.
    pub(super) fn accept(&mut self, secret: Option<Counter>) {
        self.rejected.retain(|known| match (&known.because, &secret) {
            (Because::Wrong, _) => true,
            _ if known.counter.needs_no_other() => true,
            (Because::WrongOrUnready(accepted), Some(secret)) => accepted.contains(secret),
            (Because::WrongOrUnready(_), None) => false,
        });
        if let Some(secret) = secret {
            self.end(&secret);
            push(&mut self.accepted, MAX_ACCEPTED, secret);
        }
    }

    /// Records that a secret may count as verified no longer.
    pub(super) fn end(&mut self, secret: &Counter) {
        self.accepted.retain(|known| known != secret);
    }

    /// Records that no secret may count as verified any longer.
    pub(super) fn end_all(&mut self) {
        self.accepted.clear();
    }

    /// Stores the number of remaining tries; 0 forgets it.
    pub(super) fn set_tries(&mut self, counter: Counter, tries: u8) {
        self.tries_left.retain(|(known, _)| *known != counter);
        if tries != 0 {
            push(&mut self.tries_left, MAX_REMEMBERED, (counter, tries));
        }
    }

    /// Counts a try of a counter that is known. Never below one: the card says when there is none.
    pub(super) fn count_down(&mut self, counter: &Counter) {
        for (_, left) in self.tries_left.iter_mut().filter(|(known, _)| known == counter) {
            *left = left.saturating_sub(1).max(1);
        }
    }

    /// Records the name of an application that the card has confirmed. Counters under another name of it join.
    pub(super) fn confirmed(&mut self, name: ConfirmedName) {
        self.names.add(name);
        let Self { rejected, tries_left, accepted, names } = self;
        let rename = |counter: &mut Counter| *counter = counter.clone().under(names);
        for Rejected { counter, because, .. } in rejected {
            rename(counter);
            if let Because::WrongOrUnready(accepted) = because {
                accepted.iter_mut().for_each(rename);
            }
        }
        tries_left.iter_mut().for_each(|(counter, _)| rename(counter));
        accepted.iter_mut().for_each(rename);
    }

    /// Forgets a value and everything that matches it.
    pub(super) fn forget_value(&mut self, counter: &Counter, value: &Value) {
        self.rejected.retain(|known| known.counter != *counter || known.value.likeness(value) == Likeness::Other);
    }

    /// Forgets the values and tries of a counter.
    pub(super) fn forget_counter(&mut self, counter: &Counter) {
        self.rejected.retain(|known| known.counter != *counter);
        self.tries_left.retain(|(known, _)| known != counter);
    }

    /// Forgets all values and tries.
    pub(super) fn forget_values(&mut self) {
        self.rejected.clear();
        self.tries_left.clear();
    }
}

fn push<T>(remembered: &mut VecDeque<T>, most: usize, new: T) {
    if remembered.len() == most {
        remembered.pop_front();
    }
    remembered.push_back(new);
}
