//! The settings of the schedule, and its decisions.

use std::time::{Duration, Instant};

use crate::turns::{bounds::Bounds, quantum::Quantum};

/// The settings of turns from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnSettings {
    /// The maximum time of a visit.
    pub quantum: Quantum,
    /// The minimum quantum of a resting PC/SC handle whose selection the next turn may change.
    pub burst: Duration,
    /// The maximum wait of the free card for the rest of an open pair.
    pub pair: Duration,
    /// The maximum time of a turn while others wait.
    pub bounds: Bounds,
}

impl Default for TurnSettings {
    fn default() -> Self {
        Self {
            quantum: Quantum::Auto,
            burst: Duration::from_millis(250),
            pair: Duration::from_millis(100),
            bounds: Bounds::default(),
        }
    }
}

/// The schedule's decision on what happens now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Begin the turn of a request: check its conditions, then report
    /// [`on_turn_began`](super::Schedule::on_turn_began) or remove it.
    Start {
        /// The number of the request.
        number: u64,
        /// Whether an isolation reset comes first.
        reset: bool,
        /// Whether the open turn of a resting PC/SC handle goes on. Otherwise the open turn ends.
        continues: bool,
    },
    /// Reset the card, which holds security state of a group that has ended. Report
    /// [`on_reset`](super::Schedule::on_reset).
    Reset,
    /// Keep the card free for the visit's caller until this time, then ask again.
    Linger(Instant),
    /// No request waits. The open turn of a resting handle stays open.
    Idle,
    /// The current turn goes on. Ask again at this time, if there is one.
    Busy(Option<Instant>),
    /// The current turn has reached its bound: a unit stops before its next command
    /// ([`crate::turns::bounds::stops`]), a lease ends. [`Decision::Busy`] follows if the waiters leave before.
    Stop,
}
