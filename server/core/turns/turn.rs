//! A turn: the terms of a waiting request, the facts once its turn has come, and the disposition of the card after it.

use std::time::{Duration, Instant};

use crate::{
    error::{Failure, Reason},
    slot::ResetKind,
};

/// The wait of a request without a timeout of its own.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// The maximum wait of a request.
pub const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A request's requirement for the card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CardRequirement {
    /// A usable card now. Without one the request fails at once.
    #[default]
    Required,
    /// A usable card, for which the request waits.
    Awaited,
}

/// The treatment of the card at the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The card stays as it is.
    Leave,
    /// The card is reset, by the reader's `isolation_reset`.
    Reset,
    /// The card is powered off and reset.
    Unpower,
}

impl Disposition {
    /// The reset that this disposition requires, if any; `usual` is the reader's `isolation_reset`.
    pub fn reset(self, usual: ResetKind) -> Option<ResetKind> {
        match self {
            Self::Leave => None,
            Self::Reset => Some(usual),
            Self::Unpower => Some(ResetKind::Cold),
        }
    }

    /// The disposition when a session ends abnormally: the card is reset instead of left.
    pub fn abruptly(self) -> Self {
        match self {
            Self::Leave => Self::Reset,
            Self::Reset | Self::Unpower => self,
        }
    }
}

/// The terms on which a request waits for a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRequest {
    /// The reset of the card before the turn, if the request has one.
    pub reset_before: Option<ResetKind>,
    /// The only insertion in which the turn may begin, if set.
    pub if_insertion_id: Option<String>,
    /// The only card state in which the turn may begin, if set.
    pub if_state_tag: Option<String>,
    /// Whether the turn may begin only while the card holds no security state of any group.
    pub if_not_raised: bool,
    /// The maximum wait for the turn.
    pub wait_timeout: Duration,
    /// The requirement for the card when the turn comes.
    pub card: CardRequirement,
}

impl TurnRequest {
    /// The reset at the beginning of the turn, if any: the colder of the request's own and `isolation`'s.
    pub fn first_reset(&self, isolation: Option<ResetKind>) -> Option<ResetKind> {
        match (self.reset_before, isolation) {
            (Some(ResetKind::Cold), _) | (_, Some(ResetKind::Cold)) => Some(ResetKind::Cold),
            (own, isolation) => own.or(isolation),
        }
    }

    /// The failure of the turn if a condition does not match the current insertion and state; compared when the turn
    /// comes.
    pub fn broken_condition(&self, card: CardNow<'_>) -> Option<Failure> {
        let differs = |wanted: &Option<String>, is| wanted.as_ref().is_some_and(|wanted| wanted != is);
        if differs(&self.if_insertion_id, card.insertion_id) {
            let message = "a card was inserted since if_insertion_id: start again with that card";
            return Some(Failure::not_sent(Reason::InsertionChanged, message));
        }
        if differs(&self.if_state_tag, card.state_tag) {
            let message =
                "the card was used or reset since if_state_tag: start again, or send all commands in one unit";
            return Some(Failure::not_sent(Reason::StateChanged, message));
        }
        if self.if_not_raised && card.is_raised {
            let message = "a program may have a state on the card, such as a verified PIN: ask again later, or without \
                           if_not_raised";
            return Some(Failure::not_sent(Reason::StateChanged, message));
        }
        None
    }

    /// Adds the conditions of a repeat of the same request.
    ///
    /// # Errors
    /// [`Reason::RequestIdReused`] if one of them contradicts an existing one. Then nothing is added.
    pub fn add_conditions(&mut self, repeat: &Self) -> Result<(), Failure> {
        let contradict =
            |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some() && one != other;
        if contradict(&self.if_insertion_id, &repeat.if_insertion_id)
            || contradict(&self.if_state_tag, &repeat.if_state_tag)
        {
            let message = "this request_id waits with another if_insertion_id or if_state_tag: use a new request_id";
            return Err(Failure::not_sent(Reason::RequestIdReused, message));
        }
        let add = |condition: &mut Option<String>, added: &Option<String>| {
            if condition.is_none() {
                condition.clone_from(added);
            }
        };
        add(&mut self.if_insertion_id, &repeat.if_insertion_id);
        add(&mut self.if_state_tag, &repeat.if_state_tag);
        self.if_not_raised |= repeat.if_not_raised;
        Ok(())
    }

    /// Whether `failure`, caused by the reader's state, refuses the request now: always if waiting cannot help,
    /// otherwise unless the request waits for a card.
    pub fn is_refused_by(&self, failure: &Failure) -> bool {
        self.card == CardRequirement::Required || failure.reason == Reason::ReaderNotOwned
    }
}

/// The card as it is when a turn may begin, for the turn's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardNow<'a> {
    /// The id of the insertion in the reader, for [`TurnRequest::if_insertion_id`].
    pub insertion_id: &'a str,
    /// The state that the turns until now have left, for [`TurnRequest::if_state_tag`].
    pub state_tag: &'a str,
    /// Whether it may hold security state of a group since its last reset.
    pub is_raised: bool,
}

/// The facts of a turn that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The id of the insertion in the reader.
    pub insertion_id: String,
    /// The card's state tag from the beginning of the turn.
    pub state_tag: String,
    /// The beginning of the turn.
    pub began: Instant,
    /// Whether the card is reset first.
    pub reset: bool,
}

/// The state in which a turn leaves the card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Whether the card may hold security state since its last reset.
    pub raised: bool,
    /// Whether the turn belongs to a PC/SC handle, stays open, and depends on the card's selection.
    pub rests: bool,
    /// Whether the last answer announces more data (61xx, 9Fxx), or the last command was a link of a chain.
    pub is_pair_open: bool,
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
            if_not_raised: false,
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
    fn only_a_session_that_ends_normally_leaves_the_card() {
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
