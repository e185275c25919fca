//! Coalesces records of one kind: the first records are emitted at once, later ones are counted and the count is
//! emitted at the end of the window. Pure; `now` is an argument.
//!
//! ```text
//! first ──► emitted, a window opens ──► later records are counted ──► the window ends
//!                                           ▲                          │ some: the count is emitted, a window opens
//!                                           └──────────────────────────┤
//!                                                                      └ none: the kind is forgotten
//! ```
//!
//! `close` ends all windows; later records are emitted singly.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
    mem,
    time::{Duration, Instant},
};

/// The length of a window, after which its count is emitted.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// The most kinds that have a window of their own at a time.
pub(super) const MAX_KINDS: usize = 1_024;

/// The decision about one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Emit the record at once.
    Emit,
    /// Do not emit it: it is part of a count that is emitted later.
    Counted,
}

/// The count of the records of one window.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Count<K> {
    /// The kind of the records; `None` for all kinds beyond [`MAX_KINDS`] together.
    pub(super) kind: Option<K>,
    /// The number of records, without those that were emitted at once.
    pub(super) repeated: u64,
    /// The length of the window.
    pub(super) time: Duration,
}

/// The records of one window.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// How many more records of it are emitted at once.
    singles_left: u64,
    /// The number of all others.
    repeated: u64,
}

/// The open windows, at most one for each kind.
#[derive(Debug)]
pub(super) struct Coalescer<K> {
    /// The records of a kind that are emitted at once when it has no window yet.
    singles: u64,
    /// The window of each kind. The key `None` stands for all kinds beyond [`MAX_KINDS`].
    windows: HashMap<Option<K>, Window>,
    /// The start of each window. All windows have the same length, so the first to open is the first to end.
    opened: VecDeque<(Instant, Option<K>)>,
    /// Whether [`Self::close`] was called. Counts would not be emitted any more.
    is_closed: bool,
}

impl<K> Default for Coalescer<K> {
    fn default() -> Self {
        Self::with_singles(1)
    }
}

impl<K> Coalescer<K> {
    /// Creates a coalescer that emits the first `singles` records of a kind at once.
    pub(super) fn with_singles(singles: u64) -> Self {
        Self { singles, windows: HashMap::new(), opened: VecDeque::new(), is_closed: false }
    }
}

impl<K: Clone + Eq + Hash> Coalescer<K> {
    /// Decides about a record of `kind`.
    pub(super) fn on_record(&mut self, kind: K, now: Instant) -> Verdict {
        if self.is_closed {
            return Verdict::Emit;
        }
        let has_room = self.windows.len() < MAX_KINDS;
        let mut kind = Some(kind);
        if !has_room && !self.windows.contains_key(&kind) {
            kind = None;
        }
        let singles_left = if kind.is_some() { self.singles } else { 0 };
        let window = match self.windows.entry(kind) {
            Entry::Occupied(window) => window.into_mut(),
            Entry::Vacant(place) => {
                self.opened.push_back((now, place.key().clone()));
                place.insert(Window { singles_left, repeated: 0 })
            }
        };
        if window.singles_left > 0 {
            window.singles_left -= 1;
            return Verdict::Emit;
        }
        window.repeated += 1;
        Verdict::Counted
    }

    /// The end of the next window; `None` if no window is open.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.opened.front().map(|(opened, _)| *opened + WINDOW)
    }

    /// Ends the windows that are due, and returns their counts.
    pub(super) fn end_windows(&mut self, now: Instant) -> Vec<Count<K>> {
        let mut ended = Vec::new();
        while self.next_end().is_some_and(|end| end <= now)
            && let Some((opened, kind)) = self.opened.pop_front()
        {
            // In the window after one with a count, every record is counted.
            let repeated = self.windows.get_mut(&kind).map(mem::take).unwrap_or_default().repeated;
            if repeated == 0 {
                self.windows.remove(&kind);
                continue;
            }
            self.opened.push_back((now, kind.clone()));
            ended.push(Count { kind, repeated, time: now - opened });
        }
        ended
    }

    /// Ends all windows for good, and returns their counts.
    pub(super) fn close(&mut self, now: Instant) -> Vec<Count<K>> {
        self.is_closed = true;
        let windows = mem::take(&mut self.windows);
        let ended = mem::take(&mut self.opened).into_iter().filter_map(|(opened, kind)| {
            let repeated = windows.get(&kind).map(|window| window.repeated).filter(|repeated| *repeated > 0)?;
            Some(Count { kind, repeated, time: now.saturating_duration_since(opened) })
        });
        ended.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prop_assert, prop_assert_eq, test_runner::TestCaseResult};

    use super::*;
    use cardbroker_core::properties::{holds, is_broken};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_flood_becomes_one_record_and_one_count_per_window() {
        let (mut records, start) = (Coalescer::default(), Instant::now());
        assert_eq!(records.next_end(), None);
        assert_eq!(records.on_record("a", start), Verdict::Emit);
        for _ in 0..299 {
            assert_eq!(records.on_record("a", start + SECOND), Verdict::Counted);
        }
        assert_eq!(records.next_end(), Some(start + WINDOW));
        assert_eq!(records.end_windows(start + WINDOW - SECOND), []);
        let count = |repeated, time| [Count { kind: Some("a"), repeated, time }];
        assert_eq!(records.end_windows(start + WINDOW), count(299, WINDOW));
        assert_eq!(records.on_record("a", start + WINDOW + SECOND), Verdict::Counted);
        assert_eq!(records.end_windows(start + 2 * WINDOW), count(1, WINDOW));
        assert_eq!(records.end_windows(start + 3 * WINDOW), []);
        assert_eq!(records.next_end(), None, "a kind without records is forgotten");
        assert_eq!(records.on_record("a", start + 3 * WINDOW), Verdict::Emit);
    }

    #[test]
    fn some_records_of_a_kind_are_emitted_singly() {
        let (mut records, start) = (Coalescer::with_singles(3), Instant::now());
        let verdicts = |records: &mut Coalescer<_>, now| [0; 5].map(|_| records.on_record("a", now));
        let [emit, counted] = [Verdict::Emit, Verdict::Counted];
        assert_eq!(verdicts(&mut records, start), [emit, emit, emit, counted, counted]);
        assert_eq!(records.end_windows(start + WINDOW), [Count { kind: Some("a"), repeated: 2, time: WINDOW }]);
        assert_eq!(verdicts(&mut records, start + WINDOW), [counted; 5], "the flood goes on");
        records.end_windows(start + 3 * WINDOW);
        records.end_windows(start + 5 * WINDOW);
        assert_eq!(verdicts(&mut records, start + 5 * WINDOW), [emit, emit, emit, counted, counted]);
    }

    #[test]
    fn kinds_beyond_the_limit_are_counted_together() {
        let (mut records, start) = (Coalescer::default(), Instant::now());
        for kind in 0..MAX_KINDS {
            assert_eq!(records.on_record(kind, start), Verdict::Emit);
        }
        for kind in 0..10 * MAX_KINDS {
            assert_eq!(records.on_record(kind, start + SECOND), Verdict::Counted);
        }
        assert_eq!(records.windows.len(), MAX_KINDS + 1);
        let ended = records.end_windows(start + WINDOW + SECOND);
        assert_eq!(ended.len(), MAX_KINDS + 1);
        let further = Count { kind: None, repeated: 9 * MAX_KINDS as u64, time: WINDOW };
        assert_eq!(ended.last(), Some(&further));
        records.end_windows(start + 3 * WINDOW);
        assert_eq!(records.on_record(9 * MAX_KINDS, start + 3 * WINDOW), Verdict::Emit, "a window is free again");
    }

    #[test]
    fn close_returns_all_counts_and_later_records_are_emitted() {
        let (mut records, start) = (Coalescer::default(), Instant::now());
        for kind in ["a", "b", "b", "b"] {
            records.on_record(kind, start);
        }
        assert_eq!(records.close(start + SECOND), [Count { kind: Some("b"), repeated: 2, time: SECOND }]);
        assert_eq!([records.on_record("b", start + SECOND); 2], [Verdict::Emit; 2]);
        assert_eq!((records.close(start + SECOND), records.next_end()), (vec![], None));
    }

    /// Checks that each record is emitted at once or counted within its window; `forgets` plants a fault.
    fn play(steps: Vec<(u16, u64)>, singles: u64, forgets: bool) -> TestCaseResult {
        let (mut records, mut now) = (Coalescer::with_singles(singles), Instant::now());
        let (mut came, mut emitted) = (0, 0);
        let close = steps.len() * 3 / 4;
        for (step, (kind, seconds)) in steps.into_iter().enumerate() {
            now += Duration::from_secs(seconds);
            let ended = records.end_windows(now);
            emitted += ended.iter().skip(usize::from(forgets)).map(|count| count.repeated).sum::<u64>();
            prop_assert!(ended.iter().all(|count| count.time >= WINDOW), "no window is shorter");
            prop_assert!(records.next_end().is_none_or(|end| end > now), "every window ends in time");
            came += 1;
            if step == close {
                emitted += records.close(now).iter().map(|count| count.repeated).sum::<u64>();
            }
            emitted += u64::from(records.on_record(kind, now) == Verdict::Emit);
            prop_assert!(records.windows.len() <= MAX_KINDS + 1 && records.opened.len() == records.windows.len());
        }
        prop_assert_eq!(came, emitted, "every record is emitted or counted");
        Ok(())
    }

    #[test]
    fn every_record_is_emitted_or_counted_once() {
        holds(200, vec((0_u16..5, 0_u64..8), 1..100), |steps| play(steps, 1, false));
        holds(200, vec((0_u16..5, 0_u64..8), 1..100), |steps| play(steps, 4, false));
        is_broken(
            200,
            vec((0_u16..5, 0_u64..8), 1..100),
            |steps| play(steps, 1, true),
            "forgets",
            "emitted or counted",
        );
    }
}
