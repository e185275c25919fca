//! Histograms of times, with fixed bounds from 100 µs to 2 min.

use std::time::Duration;

/// The upper bounds of the buckets, inclusive. Longer times are in a last bucket without a bound.
const BOUNDS: [Duration; 13] = [
    Duration::from_micros(100),
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(120),
];

/// How often times of each range occurred, and their sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// One number for each bound, and one for longer times.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// Counts a time in its bucket.
    pub fn observe(&mut self, time: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < time);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += time;
    }

    /// The sum of all times that were counted.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The number of all times that were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The buckets, each with its upper bound and the number of times in it; the last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        BOUNDS.into_iter().map(Some).chain([None]).zip(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_once_up_to_its_bound() {
        let mut histogram = Histogram::default();
        for micros in [0, 100, 101, 1_000, 120_000_000, 120_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts: Vec<_> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((histogram.count(), histogram.sum()), (6, Duration::from_micros(240_001_202)));
        assert_eq!(histogram.buckets().last().unwrap().0, None);
    }
}
