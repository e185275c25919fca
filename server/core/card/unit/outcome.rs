//! A unit as it is asked for, and what came of it.

use std::time::Duration;

use super::{CommandResult, UnitCommand};
use crate::{
    error::Failure,
    turns::turn::{Disposition, TurnRequest},
};

/// What a caller asks of a reader: one unit and its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRequest {
    /// The commands, at least one.
    pub commands: Vec<UnitCommand>,
    /// On what terms it waits.
    pub turn: TurnRequest,
    /// What becomes of the card after the unit, however it ends, before anyone else's turn. The outcome does not wait
    /// for it.
    pub disposition: Disposition,
}

/// The outcome of a unit of which at least one command was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitOutcome {
    /// The answers, in order. If the unit stopped after `61xx` and before all of the answer was fetched, the last one
    /// is of the command at which it stopped: the data that had come, and the status word that offers more.
    pub results: Vec<CommandResult>,
    /// Why the unit ended early, if it did.
    pub stopped: Option<Stop>,
    /// The insertion that the unit ran on.
    pub insertion_id: String,
    /// The card's state after the unit.
    pub state_tag: String,
    /// From arrival to turn.
    pub queue_duration: Duration,
    /// From turn to the last answer.
    pub card_duration: Duration,
    /// Whether the card was reset at the start.
    pub reset_before_unit: bool,
}

/// The early end of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The command that has no complete answer. Its delivery is "executed" if it has a result all the same.
    pub index: usize,
    /// Why.
    pub failure: Failure,
}
