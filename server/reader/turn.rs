//! A turn: what someone asks who wants one, and what it is once it has come. Pure.

use std::time::{Duration, Instant};

use crate::error::{Failure, Reason};

/// On what terms someone waits for a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRequest {
    /// Reset the card first.
    pub reset_first: bool,
    /// Only in this insertion.
    pub if_insertion_id: Option<String>,
    /// Only in this state.
    pub if_state_tag: Option<String>,
    /// How long to wait for the turn.
    pub wait_timeout: Duration,
    /// Wait for a usable card too.
    pub wait_for_card: bool,
}

impl TurnRequest {
    /// What forbids the turn on a card in this insertion and state, compared when the turn comes.
    pub fn broken_condition(&self, insertion_id: &str, state_tag: &str) -> Option<Failure> {
        let differs = |wanted: &Option<String>, is| wanted.as_ref().is_some_and(|wanted| wanted != is);
        if differs(&self.if_insertion_id, insertion_id) {
            let message = "another card was inserted, or the same one again, since if_insertion_id: start again";
            return Some(Failure::not_sent(Reason::InsertionChanged, message));
        }
        if differs(&self.if_state_tag, state_tag) {
            let message = "someone used or reset the card since if_state_tag: start again, or use one unit";
            return Some(Failure::not_sent(Reason::StateChanged, message));
        }
        None
    }

    /// Whether `failure`, which tells of the reader's state, is told now: always if waiting cannot help, otherwise unless a card is
    /// waited for.
    pub fn is_told(&self, failure: &Failure) -> bool {
        !self.wait_for_card || failure.reason == Reason::ReaderNotOwned
    }
}

/// A turn that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The insertion in the reader.
    pub insertion_id: String,
    /// The card's state once the turn has begun.
    pub state_tag: String,
    /// When it came.
    pub began: Instant,
    /// Whether the card is reset first.
    pub reset: bool,
}
