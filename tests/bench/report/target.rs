//! Targets: what a measured value must not exceed, or fall below.

use serde_json::{Value, json};

use super::{grid, time_text};
use crate::samples::Spread;

/// A smoke run fails only if a ratio misses its limit by this factor.
const SMOKE_FACTOR: f64 = 3.0;

/// The limit that a target sets.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// A ratio, as an upper limit.
    AtMost(f64),
    /// A ratio, as a lower limit.
    AtLeast(f64),
    /// A time in ns, as an upper limit.
    Within(f64),
    /// Memory in KiB, as an upper limit.
    Below(f64),
}

impl Limit {
    fn admits(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) | Self::Within(limit) | Self::Below(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    /// A value as people read it.
    fn text(self, value: f64) -> String {
        match self {
            Self::AtMost(_) | Self::AtLeast(_) => format!("{value:.2}"),
            Self::Within(_) => time_text(value),
            Self::Below(_) => format!("{value:.0} KiB"),
        }
    }
}

/// A target: a limit, and the measured value with its spread over the rounds.
pub(crate) struct Target {
    what: String,
    limit: Limit,
    measured: Spread,
}

impl Target {
    /// The median of `measured` is compared with the limit.
    pub(crate) fn new(what: impl Into<String>, limit: Limit, measured: impl Into<Spread>) -> Self {
        Self { what: what.into(), limit, measured: measured.into() }
    }

    /// Whether a ratio misses its limit so far that no noise of a machine explains it. Times and memory are those of
    /// one machine, so they do not count.
    pub(crate) fn is_far_off(&self) -> bool {
        let limit = match self.limit {
            Limit::AtMost(limit) => Limit::AtMost(limit * SMOKE_FACTOR),
            Limit::AtLeast(limit) => Limit::AtLeast(limit / SMOKE_FACTOR),
            Limit::Within(_) | Limit::Below(_) => return false,
        };
        // A ratio that is not a number must not pass.
        !limit.admits(self.measured.median)
    }

    fn is_met(&self) -> bool {
        self.limit.admits(self.measured.median)
    }

    /// The limit and the measured value, as text for people.
    fn texts(&self) -> (String, String) {
        let limit = match self.limit {
            Limit::AtMost(limit) => format!("≤ {limit}"),
            Limit::AtLeast(limit) => format!("≥ {limit}"),
            Limit::Within(limit) => format!("≤ {}", time_text(limit)),
            Limit::Below(limit) => format!("≤ {limit} KiB"),
        };
        let Spread { median, min, max } = self.measured;
        let [median, min, max] = [median, min, max].map(|value| self.limit.text(value));
        let measured = if min == max { median } else { format!("{median} ({min}–{max})") };
        (limit, measured)
    }

    /// The target in one line.
    pub(crate) fn line(&self) -> String {
        let (limit, measured) = self.texts();
        format!("{}: {measured}, limit {limit}", self.what)
    }

    pub(super) fn json(&self) -> Value {
        let (limit, measured) = self.texts();
        json!({ "what": self.what, "limit": limit, "measured": measured, "met": self.is_met() })
    }
}

/// The targets with their limits, what was measured, and whether they are met.
pub(super) fn targets_grid<'a>(targets: impl IntoIterator<Item = &'a Target>) -> String {
    let rows = targets.into_iter().map(|target| {
        let (limit, measured) = target.texts();
        let verdict = if target.is_met() { "met" } else { "**missed**" };
        vec![target.what.clone(), limit, measured, verdict.to_owned()]
    });
    grid(&["target", "limit", "measured", ""], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ratio_beyond_a_factor_of_three_is_far_off() {
        let is_far_off = |limit, measured: f64| Target::new("x", limit, measured).is_far_off();
        assert!(!is_far_off(Limit::AtMost(1.5), 4.4) && is_far_off(Limit::AtMost(1.5), 4.6));
        assert!(!is_far_off(Limit::AtLeast(0.9), 0.31) && is_far_off(Limit::AtLeast(0.9), 0.29));
        assert!(is_far_off(Limit::AtMost(1.5), f64::NAN) && is_far_off(Limit::AtLeast(0.9), f64::NAN));
        assert!(!is_far_off(Limit::Within(1.0), 1e9) && !is_far_off(Limit::Below(1.0), 1e9));
    }

    #[test]
    fn a_target_shows_its_spread() {
        let spread = Spread::of(&[1.0, 1.25, 2.0]);
        assert_eq!(Target::new("a unit", Limit::AtMost(1.5), spread).line(), "a unit: 1.25 (1.00–2.00), limit ≤ 1.5");
        assert_eq!(Target::new("a wait", Limit::Within(2e6), 1e6).line(), "a wait: 1.00 ms, limit ≤ 2.00 ms");
    }
}
