//! The prediction of whether a caller returns within the linger time, from its last eight chances. A chance begins when
//! a caller has its last answer and no other waiting request. The schedule lets the card wait for a caller that is
//! likely to return (anticipatory scheduling, Iyer and Druschel, SOSP 2001).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::turns::{hash::IdMap, request::Id};

/// The maximum number of remembered callers. Above it, the caller with the oldest latest chance is forgotten, and
/// counts as new when it returns.
pub const MAX_REMEMBERED: usize = 1024;

/// The number of returns in the last eight chances from which a caller is likely to return. A new caller has eight.
const LIKELY_RETURNS: u32 = 4;

/// The last chances of at most [`MAX_REMEMBERED`] callers.
#[derive(Debug)]
pub struct Comebacks<C> {
    callers: IdMap<C, Memory>,
    by_age: BTreeMap<u64, C>,
    last_chance: u64,
}

#[derive(Debug)]
struct Memory {
    age: u64,
    /// One bit for each chance, the latest in the lowest bit. A set bit is a return in time.
    returns: u8,
    /// The end of the open chance, if there is one. A return until then counts.
    open_until: Option<Instant>,
}

impl<C: Id> Default for Comebacks<C> {
    fn default() -> Self {
        Self { callers: IdMap::default(), by_age: BTreeMap::new(), last_chance: 0 }
    }
}

impl<C: Id> Comebacks<C> {
    /// Begins a chance: the caller has its last answer and no other waiting request. A return within `linger` counts.
    /// A `linger` of zero begins no chance.
    pub fn on_chance(&mut self, caller: C, now: Instant, linger: Duration) {
        if linger.is_zero() {
            return;
        }
        self.last_chance += 1;
        let new = Memory { age: 0, returns: u8::MAX, open_until: None };
        let memory = self.callers.entry(caller).or_insert(new);
        if memory.age > 0 {
            self.by_age.remove(&memory.age);
        }
        memory.age = self.last_chance;
        memory.open_until = Some(now + linger);
        self.by_age.insert(memory.age, caller);
        if self.callers.len() > MAX_REMEMBERED
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.callers.remove(&oldest);
        }
    }

    /// Records a request of the caller, which ends its open chance.
    pub fn on_request(&mut self, caller: C, now: Instant) {
        if let Some(memory) = self.callers.get_mut(&caller)
            && let Some(until) = memory.open_until.take()
        {
            memory.returns = memory.returns << 1 | u8::from(now <= until);
        }
    }

    /// Whether the caller is likely to return within the linger time.
    pub fn is_likely(&self, caller: C) -> bool {
        self.callers.get(&caller).is_none_or(|memory| memory.returns.count_ones() >= LIKELY_RETURNS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(3);

    #[test]
    fn five_misses_end_the_patience_and_four_returns_restore_it() {
        let (mut comebacks, mut now) = (Comebacks::default(), Instant::now());
        let mut chance = |after: Duration| {
            comebacks.on_chance('a', now, LINGER);
            now += after;
            comebacks.on_request('a', now);
            comebacks.is_likely('a')
        };
        let misses: Vec<_> = (0..8).map(|_| chance(LINGER * 2)).collect();
        assert_eq!(misses, [true, true, true, true, false, false, false, false]);
        let returns: Vec<_> = (0..4).map(|_| chance(LINGER)).collect();
        assert_eq!(returns, [false, false, false, true]);
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let (mut comebacks, now) = (Comebacks::default(), Instant::now());
        for _ in 0..5 {
            comebacks.on_chance(0, now, LINGER);
            comebacks.on_request(0, now + LINGER * 2);
        }
        assert!(!comebacks.is_likely(0));
        for caller in 1..=MAX_REMEMBERED {
            comebacks.on_chance(caller, now, LINGER);
        }
        assert!(comebacks.is_likely(0) && comebacks.callers.len() == MAX_REMEMBERED);
        assert_eq!(comebacks.by_age.len(), MAX_REMEMBERED);
    }
}
