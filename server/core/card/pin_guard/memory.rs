//! What a card has told about its PINs: rejected values, remaining tries, names of applications. Bounded.

use std::collections::VecDeque;

use super::{
    counter::{Counter, Names},
    value::Value,
};
use crate::card::selection::ConfirmedName;

/// The most rejected values, and the most counters with known tries, that are stored for one card. Each value has cost
/// a try, so most cards block earlier; otherwise recent values matter more than old ones.
pub(super) const MAX_REMEMBERED: usize = 64;

/// Everything that the answers of one card have told the guard. Forgotten as a whole when the card leaves.
#[derive(Default)]
pub(super) struct Memory {
    /// Rejected values with their counters, oldest first.
    pub(super) rejected: VecDeque<Rejected>,
    /// Remaining tries by counter, oldest first.
    pub(super) tries_left: VecDeque<(Counter, u8)>,
    pub(super) names: Names,
}

#[derive(PartialEq, Eq)]
pub(super) struct Rejected {
    counter: Counter,
    value: Value,
    /// Whether the answer can only mean that the value is wrong.
    is_certain: bool,
}

impl Memory {
    /// Whether the value is known wrong.
    pub(super) fn is_known(&self, counter: &Counter, value: &Value) -> bool {
        self.rejected.iter().any(|known| known.is_certain && known.is_same(counter, value))
    }

    /// Whether the counter has one try left.
    pub(super) fn is_last_try(&self, counter: &Counter) -> bool {
        self.tries_left.iter().any(|(known, left)| known == counter && *left == 1)
    }

    /// Stores a value that is certainly wrong.
    pub(super) fn reject(&mut self, counter: Counter, value: Value) {
        self.remember(Rejected { counter, value, is_certain: true });
    }

    /// Stores a value that the card has answered with `6982`. `is_repeat`: it was known wrong before.
    pub(super) fn suspect(&mut self, counter: Counter, value: Value, is_repeat: bool) {
        let mut is_within = false;
        for known in self.rejected.iter_mut().filter(|known| known.counter == counter && known.value != value) {
            if known.value.is_within(&value) {
                known.is_certain = true;
                is_within = true;
            }
        }
        if !is_within {
            let is_certain = is_repeat || self.rejected.iter().any(|known| known.is_same(&counter, &value));
            self.remember(Rejected { counter, value, is_certain });
        }
    }

    fn remember(&mut self, new: Rejected) {
        let is_old = |known: &Rejected| known.counter == new.counter && known.value == new.value;
        let is_certain = new.is_certain || self.rejected.iter().any(|known| is_old(known) && known.is_certain);
        self.rejected.retain(|known| !is_old(known));
        push(&mut self.rejected, Rejected { is_certain, ..new });
    }

    /// Stores the number of remaining tries; 0 forgets it.
    pub(super) fn set_tries(&mut self, counter: Counter, tries: u8) {
        self.tries_left.retain(|(known, _)| *known != counter);
        if tries != 0 {
            push(&mut self.tries_left, (counter, tries));
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
        let Self { names, rejected, tries_left } = self;
        *rejected = rejected.drain(..).map(|old| Rejected { counter: old.counter.under(names), ..old }).collect();
        *tries_left = tries_left.drain(..).map(|(counter, left)| (counter.under(names), left)).collect();
    }

    /// Forgets a value and everything that matches it.
    pub(super) fn forget_value(&mut self, counter: &Counter, value: &Value) {
        self.rejected.retain(|known| !known.is_same(counter, value));
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

impl Rejected {
    fn is_same(&self, counter: &Counter, value: &Value) -> bool {
        self.counter == *counter && self.value.matches(value)
    }
}

fn push<T>(remembered: &mut VecDeque<T>, new: T) {
    if remembered.len() == MAX_REMEMBERED {
        remembered.pop_front();
    }
    remembered.push_back(new);
}
