//! What the schedule is told by the configuration, and what it answers.

use std::time::{Duration, Instant};

use crate::turns::{bounds::Bounds, quantum::Quantum};

/// What the configuration says about turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a visit may last.
    pub quantum: Quantum,
    /// The least quantum of a resting PC/SC handle whose selection the next turn may move.
    pub burst: Duration,
    /// How long the card waits for the other half of an open pair.
    pub pair: Duration,
    /// How long a turn may go on while others wait.
    pub bounds: Bounds,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quantum: Quantum::Auto,
            burst: Duration::from_millis(250),
            pair: Duration::from_millis(100),
            bounds: Bounds::default(),
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Give the request its turn: check its conditions, then report [`Schedule::on_turn_began`] or remove it.
    Start {
        /// The request.
        number: u64,
        /// Whether an isolation reset comes first.
        reset: bool,
        /// Whether the open turn of a resting PC/SC handle goes on. Otherwise a turn that rests is over.
        continues: bool,
    },
    /// Reset the card: what is left in it belongs to nobody. Report [`Schedule::on_reset`].
    Reset,
    /// Leave the card to its last user until then, and ask again.
    Linger(Instant),
    /// Nobody waits. A turn that rests stays open.
    Idle,
    /// The turn under way goes on. Ask again then, if there is a time.
    Busy(Option<Instant>),
    /// The turn under way has had its time: a unit stops before its next command ([`crate::turns::bounds::stops`]), a lease
    /// ends. Said once for each turn.
    Stop,
}
