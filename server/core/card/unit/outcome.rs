//! The request for a unit, and its outcome.

use std::time::Duration;

use super::{CommandResult, UnitCommand};
use crate::{
    error::Failure,
    turns::turn::{Disposition, TurnRequest},
};

/// A request to run one unit at a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRequest {
    /// The commands in their order, at least one.
    pub commands: Vec<UnitCommand>,
    /// The conditions for its wait and its turn.
    pub turn: TurnRequest,
    /// The disposition of the card after the unit and before the next turn, even if the unit fails. The outcome does
    /// not wait for it.
    pub disposition: Disposition,
}

/// The outcome of a unit with at least one answered command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitOutcome {
    /// The answers, in order. If the unit stopped while it fetched an answer after `61xx`, the last result is
    /// incomplete: it has the data so far and the status word that offers more.
    pub results: Vec<CommandResult>,
    /// The early end of the unit; `None` if all commands were answered.
    pub stopped: Option<Stop>,
    /// The card insertion that the unit ran on.
    pub insertion_id: String,
    /// The state tag of the card after the unit.
    pub state_tag: String,
    /// The time from arrival to the turn.
    pub queue_duration: Duration,
    /// The time from the turn to the last answer.
    pub card_duration: Duration,
    /// Whether the card was reset before the first command.
    pub reset_before_unit: bool,
}

/// The early end of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The index of the command without a complete answer. Its delivery is "executed" if it has a partial result.
    pub index: usize,
    /// The reason for the stop, and the delivery of that command.
    pub failure: Failure,
}
