//! A turn: on what terms a request waits for one, what it is once it has come, and what becomes of the card after it.
//! Pure.

use std::time::{Duration, Instant};

use crate::{
    error::{Failure, Reason},
    slot::ResetKind,
};

/// How long a request waits that does not say.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// The longest that a request may wait.
pub const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What a request needs of the card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CardRequirement {
    /// A usable card, now: without one the request fails at once.
    #[default]
    Required,
    /// A usable card, for which the request waits too.
    Awaited,
}

/// What becomes of the card at the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It is left as it is.
    Leave,
    /// It is reset, in the way that the reader's `isolation_reset` says.
    Reset,
    /// Its power is cut, and it is reset.
    Unpower,
}

impl Disposition {
    /// The reset that it asks for, if any; `usual` is the reader's `isolation_reset`.
    pub fn reset(self, usual: ResetKind) -> Option<ResetKind> {
        match self {
            Self::Leave => None,
            Self::Reset => Some(usual),
            Self::Unpower => Some(ResetKind::Cold),
        }
    }

    /// What becomes of the card when a session does not end in good order: it is reset even if it was to be left.
    pub fn abruptly(self) -> Self {
        match self {
            Self::Leave => Self::Reset,
            Self::Reset | Self::Unpower => self,
        }
    }
}

/// On what terms someone waits for a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRequest {
    /// How the card is reset before the turn begins, if it is.
    pub reset_before: Option<ResetKind>,
    /// Only in this insertion.
    pub if_insertion_id: Option<String>,
    /// Only in this state.
    pub if_state_tag: Option<String>,
    /// How long to wait for the turn.
    pub wait_timeout: Duration,
    /// What it needs of the card.
    pub card: CardRequirement,
}

impl TurnRequest {
    /// The reset at the beginning of the turn, if there is one: the request's own, or `isolation`'s, and the colder of
    /// both.
    pub fn first_reset(&self, isolation: Option<ResetKind>) -> Option<ResetKind> {
        match (self.reset_before, isolation) {
            (Some(ResetKind::Cold), _) | (_, Some(ResetKind::Cold)) => Some(ResetKind::Cold),
            (own, isolation) => own.or(isolation),
        }
    }

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

    /// Adds the conditions of a repeat of the same request.
    ///
    /// # Errors
    /// [`Reason::RequestIdReused`], and nothing is added, if one of them contradicts one that is there.
    pub fn add_conditions(&mut self, repeat: &Self) -> Result<(), Failure> {
        let contradict =
            |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some() && one != other;
        if contradict(&self.if_insertion_id, &repeat.if_insertion_id)
            || contradict(&self.if_state_tag, &repeat.if_state_tag)
        {
            let message = "this request_id waits with another if_insertion_id or if_state_tag: take a new request_id";
            return Err(Failure::not_sent(Reason::RequestIdReused, message));
        }
        let add = |condition: &mut Option<String>, added: &Option<String>| {
            if condition.is_none() {
                condition.clone_from(added);
            }
        };
        add(&mut self.if_insertion_id, &repeat.if_insertion_id);
        add(&mut self.if_state_tag, &repeat.if_state_tag);
        Ok(())
    }

    /// Whether `failure`, which tells of the reader's state, is told now: always if waiting cannot help, otherwise unless a card is
    /// waited for.
    pub fn is_told(&self, failure: &Failure) -> bool {
        self.card == CardRequirement::Required || failure.reason == Reason::ReaderNotOwned
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colder_of_two_resets_is_done() {
        let (warm, cold) = (Some(ResetKind::Warm), Some(ResetKind::Cold));
        let request = |reset_before| TurnRequest {
            reset_before,
            if_insertion_id: None,
            if_state_tag: None,
            wait_timeout: DEFAULT_WAIT,
            card: CardRequirement::Required,
        };
        for (own, isolation, done) in
            [(None, None, None), (warm, None, warm), (None, warm, warm), (warm, cold, cold), (cold, warm, cold)]
        {
            assert_eq!(request(own).first_reset(isolation), done, "{own:?} and {isolation:?}");
        }
    }

    #[test]
    fn only_a_session_in_good_order_leaves_the_card() {
        for (disposition, usual, abruptly) in [
            (Disposition::Leave, None, Disposition::Reset),
            (Disposition::Reset, Some(ResetKind::Warm), Disposition::Reset),
            (Disposition::Unpower, Some(ResetKind::Cold), Disposition::Unpower),
        ] {
            assert_eq!((disposition.reset(ResetKind::Warm), disposition.abruptly()), (usual, abruptly));
        }
        assert_eq!(Disposition::Reset.reset(ResetKind::Cold), Some(ResetKind::Cold));
    }
}
