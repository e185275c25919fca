//! The maximum time of a visit (the quantum), from the configuration or from the cost of the reader's isolation resets.

use std::{collections::VecDeque, time::Duration};

/// The maximum cost of one reset. A longer reset is an outlier and counts as this.
pub const MAX_RESET_COST: Duration = Duration::from_secs(1);
/// The maximum of [`Quantum::Auto`], for slow resets.
pub const MAX_AUTO_QUANTUM: Duration = Duration::from_millis(500);
/// The maximum wait of the free card for a caller that is likely to return.
pub const MAX_LINGER: Duration = Duration::from_millis(3);

/// The number of resets in the median.
const REMEMBERED_RESETS: usize = 8;

/// The quantum as configured in `limits.turn_quantum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quantum {
    /// One and a half times the cost of a reset, at most [`MAX_AUTO_QUANTUM`]. Zero if resets cost nothing.
    #[default]
    Auto,
    /// A fixed time, from 0 to 10 s.
    Fixed(Duration),
}

impl Quantum {
    /// The quantum of a visit while a reset costs `reset`.
    pub fn length(self, reset: Duration) -> Duration {
        match self {
            Self::Auto => (reset + reset / 2).min(MAX_AUTO_QUANTUM),
            Self::Fixed(length) => length,
        }
    }
}

/// The maximum wait of the free card for a caller, given the visit's quantum.
pub fn linger(quantum: Duration) -> Duration {
    MAX_LINGER.min(quantum / 8)
}

/// The cost of an isolation reset: the median time of the reader's last eight, zero before the first.
#[derive(Debug, Default)]
pub struct ResetCost {
    last: VecDeque<Duration>,
    median: Duration,
}

impl ResetCost {
    /// Adds an isolation reset that took `took`.
    pub fn on_reset(&mut self, took: Duration) {
        if self.last.len() == REMEMBERED_RESETS {
            self.last.pop_front();
        }
        self.last.push_back(took.min(MAX_RESET_COST));
        let mut sorted: Vec<_> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        self.median = sorted.get((sorted.len() - 1) / 2).copied().unwrap_or_default();
    }

    /// The lower median of the last resets.
    pub fn median(&self) -> Duration {
        self.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_reset_is_the_median_of_the_last_eight() {
        let mut cost = ResetCost::default();
        assert_eq!(cost.median(), Duration::ZERO);
        let medians: Vec<_> = [150, 9000, 150, 160, 50, 50, 50, 50, 50, 50]
            .into_iter()
            .map(|took| {
                cost.on_reset(Duration::from_millis(took));
                cost.median().as_millis()
            })
            .collect();
        assert_eq!(medians, [150, 150, 150, 150, 150, 150, 150, 50, 50, 50]);
    }

    #[test]
    fn the_quantum_grows_with_the_cost_up_to_half_a_second() {
        let ms = Duration::from_millis;
        for (reset, quantum, wait) in [(0, 0, 0), (150, 225, 3000), (16, 24, 3000), (8, 12, 1500), (1000, 500, 3000)] {
            assert_eq!(Quantum::Auto.length(ms(reset)), ms(quantum));
            assert_eq!(linger(ms(quantum)).as_micros(), wait);
        }
        assert_eq!(Quantum::Fixed(ms(40)).length(ms(900)), ms(40));
    }
}
