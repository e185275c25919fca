//! Turns per second and the 99th percentile of waits, from the differences of successive states.
//!
//! The broker counts turns and adds up their waits. Of the turns that began between two states, the wait of the present
//! holder is known; each of the others counts with their mean. A request that still waits counts with its wait so far.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, SystemTime},
};

use super::model::{Figures, Reader, Snapshot, age};

/// The time over which turns are counted, unless the interval is longer.
const RATE_TIME: Duration = Duration::from_secs(10);

/// The time over which waits are compared, unless the interval is longer.
const WAIT_TIME: Duration = Duration::from_secs(60);

/// The memory of earlier states. At most two samples for each state and reader are kept, for a minute.
#[derive(Debug, Default)]
pub(super) struct Rates {
    epoch: String,
    readers: BTreeMap<String, History>,
}

/// The last minute of one reader.
#[derive(Debug)]
struct History {
    /// The first state that was seen.
    first: SystemTime,
    /// The last state that was seen, and its counters.
    last: SystemTime,
    turns: i64,
    waited: Duration,
    samples: VecDeque<Sample>,
}

/// Turns with the same wait, known at `time`.
#[derive(Debug, Clone, Copy)]
struct Sample {
    time: SystemTime,
    /// The time since the state before.
    interval: Duration,
    turns: i64,
    wait: Duration,
}

impl Rates {
    /// Takes a new state into account, and fills in the figures of its readers.
    pub(super) fn on_status(&mut self, snapshot: &mut Snapshot) {
        if self.epoch != snapshot.epoch {
            // Counters begin again with each run of the broker.
            self.epoch.clone_from(&snapshot.epoch);
            self.readers.clear();
        }
        let now = snapshot.now;
        let mut earlier = std::mem::take(&mut self.readers);
        for reader in &mut snapshot.readers {
            let history = match earlier.remove(&reader.name) {
                Some(mut history) => {
                    history.add(reader, now);
                    history
                }
                None => History::new(reader, now),
            };
            reader.figures = history.figures(reader);
            self.readers.insert(reader.name.clone(), history);
        }
    }
}

impl History {
    fn new(reader: &Reader, now: SystemTime) -> Self {
        let (turns, waited) = (reader.counters.turns(), reader.counters.wait_time);
        Self { first: now, last: now, turns, waited, samples: VecDeque::new() }
    }

    fn add(&mut self, reader: &Reader, now: SystemTime) {
        let interval = now.duration_since(self.last).unwrap_or_default();
        let turns = reader.counters.turns().saturating_sub(self.turns);
        let waited = reader.counters.wait_time.saturating_sub(self.waited);
        let holder = reader.holder.as_ref().filter(|holder| holder.begin_time.is_some_and(|time| time > self.last));
        let known = holder.and_then(|holder| age(holder.arrive_time, holder.begin_time?)).map(|wait| wait.min(waited));
        let mut sample = |turns: i64, wait| {
            if turns > 0 {
                self.samples.push_back(Sample { time: now, interval, turns, wait });
            }
        };
        match known {
            Some(wait) if turns > 0 => {
                sample(1, wait);
                sample(turns - 1, mean(waited - wait, turns - 1));
            }
            _ => sample(turns, mean(waited, turns)),
        }
        let is_old = |sample: &Sample| age(Some(sample.time), now) >= Some(WAIT_TIME.max(sample.interval));
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
        (self.last, self.turns, self.waited) = (now, reader.counters.turns(), reader.counters.wait_time);
    }

    fn figures(&self, reader: &Reader) -> Figures {
        Figures { turns_per_second: self.turns_per_second(), p99_wait: self.p99_wait(reader) }
    }

    fn turns_per_second(&self) -> Option<f64> {
        let is_recent = |sample: &&Sample| {
            let begin = age(Some(sample.time), self.last).unwrap_or_default();
            begin < RATE_TIME.max(sample.interval)
        };
        let recent: Vec<_> = self.samples.iter().filter(is_recent).collect();
        let longest = recent.iter().map(|sample| sample.interval).max().unwrap_or_default();
        let time = age(Some(self.first), self.last)?.min(RATE_TIME.max(longest));
        let turns = total(recent.iter().map(|sample| sample.turns));
        // Counts of turns are far below the numbers that a float cannot hold.
        (!time.is_zero()).then(|| turns as f64 / time.as_secs_f64())
    }

    fn p99_wait(&self, reader: &Reader) -> Option<Duration> {
        let mut waits: Vec<_> = self.samples.iter().map(|sample| (sample.wait, sample.turns)).collect();
        waits.extend(reader.waiters.iter().filter_map(|waiter| Some((age(waiter.arrive_time, self.last)?, 1))));
        waits.sort_unstable();
        let total = total(waits.iter().map(|(_, turns)| *turns));
        let mut left = total - total / 100;
        waits.into_iter().find_map(|(wait, turns)| {
            left -= turns;
            (left <= 0).then_some(wait)
        })
    }
}

/// The sum of numbers that the broker has sent, which are in range unless it is mistaken.
fn total(turns: impl Iterator<Item = i64>) -> i64 {
    turns.fold(0, i64::saturating_add)
}

/// The mean of `turns` waits.
fn mean(waited: Duration, turns: i64) -> Duration {
    u32::try_from(turns).ok().and_then(|turns| waited.checked_div(turns)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::examples::busy;

    /// The figures after states in which `change` has set the counters by the second.
    fn figures(seconds: &[u64], change: impl Fn(&mut Reader, u64)) -> Figures {
        let mut rates = Rates::default();
        let mut last = Figures::default();
        for second in seconds {
            let mut snapshot = busy(*second);
            snapshot.readers.retain(|reader| reader.id == "gemalto");
            change(&mut snapshot.readers[0], *second);
            rates.on_status(&mut snapshot);
            last = snapshot.readers[0].figures;
        }
        last
    }

    /// `turns` a second, each after `milliseconds`.
    fn steady(turns: u64, milliseconds: u64) -> impl Fn(&mut Reader, u64) {
        move |reader, second| {
            reader.counters.units = i64::try_from(turns * second).unwrap();
            reader.counters.wait_time = Duration::from_millis(turns * second * milliseconds);
        }
    }

    #[test]
    fn one_state_says_nothing_about_turns() {
        assert_eq!(figures(&[5], steady(10, 20)), Figures::default());
    }

    #[test]
    fn steady_turns_have_their_rate_and_wait() {
        let expected = Figures { turns_per_second: Some(10.0), p99_wait: Some(Duration::from_millis(20)) };
        assert_eq!(figures(&[0, 1, 2, 3], steady(10, 20)), expected);
        assert_eq!(figures(&(0..100).collect::<Vec<_>>(), steady(10, 20)), expected);
        // The interval is longer than both times.
        assert_eq!(figures(&[0, 3600, 7200], steady(10, 20)), expected);
    }

    #[test]
    fn a_rate_forgets_after_ten_seconds_and_a_wait_after_a_minute() {
        let burst = |reader: &mut Reader, second| steady(30, 20)(reader, u64::min(second, 1));
        let at = |second| figures(&(0..=second).collect::<Vec<_>>(), burst);
        assert_eq!(at(10).turns_per_second, Some(3.0));
        assert_eq!((at(11).turns_per_second, at(11).p99_wait), (Some(0.0), Some(Duration::from_millis(20))));
        assert_eq!((at(60).p99_wait.is_some(), at(61).p99_wait), (true, None));
    }

    #[test]
    fn one_long_wait_in_a_hundred_is_beyond_the_percentile() {
        let change = |turns| {
            move |reader: &mut Reader, second| {
                steady(turns, 20)(reader, second);
                if second == 2 {
                    // The holder's own wait is known.
                    let mut holder = busy(2).readers[0].holder.take().unwrap();
                    holder.begin_time = Some(busy(2).now);
                    holder.arrive_time = Some(busy(2).now - Duration::from_secs(9));
                    reader.holder = Some(holder);
                    reader.counters.wait_time += Duration::from_secs(9) - Duration::from_millis(20);
                }
            }
        };
        assert_eq!(figures(&[0, 1, 2], change(50)).p99_wait, Some(Duration::from_millis(20)));
        assert_eq!(figures(&[0, 1, 2], change(40)).p99_wait, Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_request_that_still_waits_counts() {
        let change = |reader: &mut Reader, second| reader.waiters = busy(second).readers[0].waiters.clone();
        assert_eq!(figures(&[0], change).p99_wait, Some(Duration::from_secs(31)));
    }

    #[test]
    fn a_new_run_of_the_broker_begins_again() {
        let mut rates = Rates::default();
        let mut figures = Vec::new();
        for (second, epoch) in [(5, "a"), (6, "a"), (7, "b")] {
            let mut snapshot = busy(second);
            epoch.clone_into(&mut snapshot.epoch);
            rates.on_status(&mut snapshot);
            figures.push(snapshot.readers[1].figures.turns_per_second);
        }
        assert_eq!(figures, [None, Some(40.0), None]);
    }
}
