//! Records of one kind, coalesced: the first at once, those that follow within a window as one count at its end.
//! Decides only; `now` is an argument.
//!
//! ```text
//! first ──► told, a window opens ──► further ones are counted ──► the window ends
//!                                        ▲                          │ some: told as a count, the next window opens
//!                                        └──────────────────────────┤
//!                                                                   └ none: the kind is forgotten
//! ```

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
    mem,
    time::{Duration, Instant},
};

/// How long records of one kind are counted before they are told.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// The most kinds that are told apart at a time.
pub(super) const MAX_KINDS: usize = 1_024;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is to be told.
    Tell,
    /// It is part of a count that will be told.
    Counted,
}

/// Records that were counted within one window.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Count<K> {
    /// Their kind; `None` for all kinds together that there was no room for.
    pub(super) kind: Option<K>,
    /// How many, beside those that were told.
    pub(super) repeated: u64,
    /// How long the window was.
    pub(super) time: Duration,
}

/// The windows that are open.
#[derive(Debug)]
pub(super) struct Coalescer<K> {
    /// What was counted of each kind, of all that there was no room for under `None`.
    counts: HashMap<Option<K>, u64>,
    /// When each window opened. All are equally long, so the first one ends first.
    opened: VecDeque<(Instant, Option<K>)>,
}

impl<K> Default for Coalescer<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), opened: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash> Coalescer<K> {
    /// A record of that kind comes.
    pub(super) fn on_record(&mut self, kind: K, now: Instant) -> Verdict {
        let has_room = self.counts.len() < MAX_KINDS;
        let mut kind = Some(kind);
        if !has_room && !self.counts.contains_key(&kind) {
            kind = None;
        }
        let is_further = kind.is_none();
        match self.counts.entry(kind) {
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(place) => {
                self.opened.push_back((now, place.key().clone()));
                place.insert(u64::from(is_further));
                return if is_further { Verdict::Counted } else { Verdict::Tell };
            }
        }
        Verdict::Counted
    }

    /// When the next window ends; `None` if none is open.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.opened.front().map(|(opened, _)| *opened + WINDOW)
    }

    /// The counts of the windows that have ended.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<Count<K>> {
        let mut ended = Vec::new();
        while self.next_end().is_some_and(|end| end <= now)
            && let Some((opened, kind)) = self.opened.pop_front()
        {
            let repeated = self.counts.get_mut(&kind).map(mem::take).unwrap_or_default();
            if repeated == 0 {
                self.counts.remove(&kind);
                continue;
            }
            self.opened.push_back((now, kind.clone()));
            ended.push(Count { kind, repeated, time: now - opened });
        }
        ended
    }

    /// The counts of all windows, which end now.
    pub(super) fn end(&mut self, now: Instant) -> Vec<Count<K>> {
        let counts = mem::take(&mut self.counts);
        let ended = mem::take(&mut self.opened).into_iter().filter_map(|(opened, kind)| {
            let repeated = counts.get(&kind).copied().filter(|repeated| *repeated > 0)?;
            Some(Count { kind, repeated, time: now.saturating_duration_since(opened) })
        });
        ended.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prop_assert, prop_assert_eq, test_runner::TestCaseResult};

    use super::*;
    use crate::properties::{holds, is_broken};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_flood_of_one_kind_is_one_record_and_a_count_for_each_window() {
        let (mut records, start) = (Coalescer::default(), Instant::now());
        assert_eq!(records.next_end(), None);
        assert_eq!(records.on_record("a", start), Verdict::Tell);
        for _ in 0..299 {
            assert_eq!(records.on_record("a", start + SECOND), Verdict::Counted);
        }
        assert_eq!(records.next_end(), Some(start + WINDOW));
        assert_eq!(records.ended(start + WINDOW - SECOND), []);
        let count = |repeated, time| [Count { kind: Some("a"), repeated, time }];
        assert_eq!(records.ended(start + WINDOW), count(299, WINDOW));
        assert_eq!(records.on_record("a", start + WINDOW + SECOND), Verdict::Counted);
        assert_eq!(records.ended(start + 2 * WINDOW), count(1, WINDOW));
        assert_eq!(records.ended(start + 3 * WINDOW), []);
        assert_eq!(records.next_end(), None, "a kind without records is forgotten");
        assert_eq!(records.on_record("a", start + 3 * WINDOW), Verdict::Tell);
    }

    #[test]
    fn kinds_are_told_apart_and_those_without_room_are_counted_together() {
        let (mut records, start) = (Coalescer::default(), Instant::now());
        for kind in 0..MAX_KINDS {
            assert_eq!(records.on_record(kind, start), Verdict::Tell);
        }
        for kind in 0..10 * MAX_KINDS {
            assert_eq!(records.on_record(kind, start + SECOND), Verdict::Counted);
        }
        assert_eq!(records.counts.len(), MAX_KINDS + 1);
        let ended = records.ended(start + WINDOW + SECOND);
        assert_eq!(ended.len(), MAX_KINDS + 1);
        let further = Count { kind: None, repeated: 9 * MAX_KINDS as u64, time: WINDOW };
        assert_eq!(ended.last(), Some(&further));
        records.ended(start + 3 * WINDOW);
        assert_eq!(records.on_record(9 * MAX_KINDS, start + 3 * WINDOW), Verdict::Tell, "there is room again");
    }

    #[test]
    fn the_end_tells_what_was_counted_so_far() {
        let (mut records, start) = (Coalescer::default(), Instant::now());
        for kind in ["a", "b", "b", "b"] {
            records.on_record(kind, start);
        }
        assert_eq!(records.end(start + SECOND), [Count { kind: Some("b"), repeated: 2, time: SECOND }]);
        assert_eq!((records.end(start + SECOND), records.next_end()), (vec![], None));
    }

    /// Whether each record is told, alone or in a count, and none long after it came; `forgets` plants a fault.
    fn play(steps: Vec<(u16, u64)>, forgets: bool) -> TestCaseResult {
        let (mut records, mut now) = (Coalescer::default(), Instant::now());
        let (mut came, mut told) = (0, 0);
        for (kind, seconds) in steps {
            now += Duration::from_secs(seconds);
            let ended = records.ended(now);
            told += ended.iter().skip(usize::from(forgets)).map(|count| count.repeated).sum::<u64>();
            prop_assert!(ended.iter().all(|count| count.time >= WINDOW), "no window is shorter");
            prop_assert!(records.next_end().is_none_or(|end| end > now), "every window ends in time");
            came += 1;
            told += u64::from(records.on_record(kind, now) == Verdict::Tell);
            prop_assert!(records.counts.len() <= MAX_KINDS + 1 && records.opened.len() == records.counts.len());
        }
        told += records.end(now).iter().map(|count| count.repeated).sum::<u64>();
        prop_assert_eq!(came, told, "every record is told");
        Ok(())
    }

    #[test]
    fn every_record_is_told_once() {
        holds(200, vec((0_u16..5, 0_u64..8), 1..100), |steps| play(steps, false));
        is_broken(200, vec((0_u16..5, 0_u64..8), 1..100), |steps| play(steps, true), "forgets", "every record is told");
    }
}
