//! Measured times, and their statistics for a table.

use std::time::Duration;

/// Times in ns, in ascending order. One may be negative: two observers of one event may see it in either order.
#[derive(Default)]
pub(crate) struct Samples(Vec<i64>);

impl Samples {
    /// Adds times in ns, in any order.
    pub(crate) fn add(&mut self, times: impl IntoIterator<Item = i64>) {
        self.0.extend(times);
        self.0.sort_unstable();
    }

    /// All times in ns, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that is at least as long as this share (0–1) of all; 0 if there are none.
    pub(crate) fn quantile(&self, share: f64) -> i64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    /// The median in ns: half of all times are at most this long.
    pub(crate) fn median(&self) -> i64 {
        self.quantile(0.5)
    }

    /// The longest time; 0 if there are none.
    pub(crate) fn max(&self) -> i64 {
        self.quantile(1.0)
    }
}

impl FromIterator<i64> for Samples {
    fn from_iter<T: IntoIterator<Item = i64>>(times: T) -> Self {
        let mut samples = Self::default();
        samples.add(times);
        samples
    }
}

/// The times of one way in all rounds.
#[derive(Default)]
pub(crate) struct Rounds {
    all: Samples,
    /// One for each round, in ns.
    medians: Vec<f64>,
    /// The 99 % quantiles, one for each round, in ns.
    tails: Vec<f64>,
}

impl Rounds {
    /// Adds the times of a round, in ns.
    pub(crate) fn add(&mut self, times: impl IntoIterator<Item = i64>) {
        let times: Samples = times.into_iter().collect();
        self.medians.push(times.median() as f64);
        self.tails.push(times.quantile(0.99) as f64);
        self.all.add(times.0);
    }

    /// The times of all rounds.
    pub(crate) fn all(&self) -> &Samples {
        &self.all
    }

    /// The medians as ratios to those of another way, round by round.
    pub(crate) fn to(&self, base: &Self) -> Spread {
        Spread::of(&self.medians.iter().zip(&base.medians).map(|(median, base)| median / base).collect::<Vec<_>>())
    }

    /// The 99 % quantile of all times in ns, with the lowest and the highest of a round.
    pub(crate) fn p99(&self) -> Spread {
        Spread { median: self.all.quantile(0.99) as f64, ..Spread::of(&self.tails) }
    }
}

/// The spread of a quantity over the rounds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of one value for each round; all zero if there are none.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        Self { median: at(values.len() / 2), min: at(0), max: at(values.len().saturating_sub(1)) }
    }
}

impl From<f64> for Spread {
    /// The spread of a quantity that was measured once.
    fn from(value: f64) -> Self {
        Self { median: value, min: value, max: value }
    }
}

/// Converts a duration to ns, the unit of samples.
pub(crate) fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let samples: Samples = (1..=1000).rev().collect();
        let quantiles = [0.5, 0.99, 0.999, 1.0].map(|share| samples.quantile(share));
        assert_eq!(quantiles, [500, 990, 999, 1000]);
        assert_eq!([Samples::default().median(), Samples::from_iter([-7]).max()], [0, -7]);
    }

    #[test]
    fn a_spread_is_shown_as_median_and_range() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
    }
}
