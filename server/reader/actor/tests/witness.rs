//! The witness: the real history of the card, and the first broken promise.

use std::collections::{HashMap, HashSet};

use cardbroker_core::{
    card::unit::UnitOutcome,
    error::{Delivery, Failure},
    slot::{ResetKind, SlotError},
};

use super::history::Fate;

/// The promises that hold in every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// The card thread has one turn at a time.
    OneAtATime,
    /// Nothing is sent under an ended lease, and at most one lease is valid.
    LeaseHonoured,
    /// A turn is over once another has begun, and GET RESPONSE follows its command.
    Uninterrupted,
    /// No caller has more visits than one, and one for each of the caller's own earlier requests, while another of the
    /// same user waits; one more if its group holds the card.
    FairToCallers,
    /// No user has more visits than one while another waits, two while that one is in debt.
    FairToUsers,
    /// A caller's requests are served in order.
    InOrder,
    /// Every request is answered exactly once.
    Answered,
    /// Only cancelled, expired or answered requests have left the queue.
    Leaves,
    /// The queue is full at its limits, and not before.
    Limits,
    /// Security state does not pass between groups.
    Isolated,
    /// The card is reset only for isolation or on a caller's request.
    ResetForAReason,
    /// The state of an ended group is wiped when the card is free.
    WipedAtOnce,
    /// After a turn with a reset as its disposition, the card is reset before another caller's command.
    ResetAfter,
    /// Every command runs at most once.
    Once,
    /// A command reported as not sent did not run, and every answer is true.
    TrueAnswer,
    /// An insertion id belongs to one card.
    OneCardPerInsertion,
    /// The state tag changes with every turn and never decreases.
    TagMoves,
    /// Turns begin only on a taken card.
    OnlyReady,
    /// No action is due at once after all actions were done.
    NeverSpins,
}

/// A group, and the number of its earlier ends.
pub(super) type Generation = (usize, u64);

/// The group that has left state in the card, and the kind of state.
#[derive(Default)]
struct Left {
    raised: Option<Generation>,
    unfetched: Option<Generation>,
}

impl Left {
    fn by(&self) -> Option<Generation> {
        self.raised.or(self.unfetched)
    }
}

#[derive(Default)]
pub(super) struct Witness {
    /// The only checked promise; `None` for all.
    only: Option<Promise>,
    pub(super) broken: Option<(Promise, String)>,
    /// The number of the card in the reader.
    pub(super) card: Option<u32>,
    /// The number of the taken card.
    taken: Option<u32>,
    last_card: u32,
    pub(super) events: u32,
    /// The state in the card.
    left: Left,
    /// The state in the card as far as the reader can know, which does not see a removal during a call.
    known: Left,
    /// The item whose turn has used the card since its last reset, if a reset must follow, and the kind of it.
    owed: Option<(usize, ResetKind)>,
    turn: Option<usize>,
    over: HashSet<usize>,
    fetching: bool,
    ran: HashMap<(usize, u8), bool>,
    cards: HashMap<String, u32>,
    /// The number of the actor's own actions since the last event.
    tries: u32,
}

impl Witness {
    /// Creates a witness of one promise, or of all.
    pub(super) fn new(only: Option<Promise>) -> Self {
        Self { only, ..Self::default() }
    }

    pub(super) fn something_happens(&mut self) {
        self.tries = 0;
    }

    /// The actor gives the card thread a job, of its own or for a request.
    pub(super) fn acts(&mut self, on_its_own: bool) {
        self.tries = if on_its_own { self.tries + 1 } else { 0 };
        self.expect(Promise::NeverSpins, self.tries <= 1, || "the card is handled again at once".into());
    }

    pub(super) fn expect(&mut self, promise: Promise, kept: bool, story: impl FnOnce() -> String) {
        if !kept && self.broken.is_none() && self.only.is_none_or(|only| only == promise) {
            self.broken = Some((promise, story()));
        }
    }

    pub(super) fn insert(&mut self) {
        if self.card.is_none() {
            self.last_card += 1;
            self.events += 1;
            self.card = Some(self.last_card);
        }
    }

    pub(super) fn remove(&mut self) {
        if self.card.take().is_some() {
            self.events += 1;
            self.reset();
        }
    }

    /// The group that has left state in the card.
    pub(super) fn raised(&self) -> Option<Generation> {
        self.left.by()
    }

    /// The group that must be assumed to have left state in the card.
    pub(super) fn suspect(&self) -> Option<Generation> {
        self.known.by()
    }

    pub(super) fn reset(&mut self) {
        (self.left, self.fetching, self.owed) = (Left::default(), false, None);
    }

    /// The card must be reset after the turn of `item`, which has used it or may do so now.
    pub(super) fn owes(&mut self, item: usize, reset: Option<ResetKind>) {
        if let Some(kind) = reset
            && self.turn == Some(item)
            && self.card.is_some()
        {
            self.owed = Some((item, kind));
        }
    }

    /// The card is released, and reset.
    pub(super) fn release(&mut self) {
        (self.taken, self.known) = (None, Left::default());
        self.reset();
    }

    /// Returns the result of an attempt to take the card.
    pub(super) fn take(&mut self, fate: Fate) -> Result<(), SlotError> {
        let taken = self.card.ok_or(SlotError::NoCard).and_then(|card| survives(fate).map(|()| card));
        self.known = Left::default();
        self.taken = taken.as_ref().ok().copied();
        taken.map(|_| self.reset())
    }

    /// Returns the result of an attempt to reset the taken card; with `forgets` it is not reset.
    pub(super) fn reset_taken(&mut self, fate: Fate, kind: ResetKind, forgets: bool) -> Result<(), SlotError> {
        let is_there = self.card.is_some() && self.card == self.taken;
        let reset = is_there.then_some(()).ok_or(SlotError::CardRemoved).and_then(|()| survives(fate));
        if reset.is_ok() && !forgets {
            let still_owed = self.owed.filter(|(_, owed)| (*owed, kind) == (ResetKind::Cold, ResetKind::Warm));
            self.known = Left::default();
            self.reset();
            self.owed = still_owed;
        }
        reset
    }

    /// Records that `item` sends a command. Returns whether it reaches the taken card.
    pub(super) fn sends(&mut self, item: usize, group: Generation, insertion: &str, command: &[u8]) -> bool {
        if self.turn != Some(item) {
            self.over.extend(self.turn.replace(item));
            let is_new = !self.over.contains(&item);
            self.expect(Promise::Uninterrupted, is_new, || format!("{item} sends after its turn"));
            let owed = self.owed.take();
            self.expect(Promise::ResetAfter, owed.is_none(), || format!("{item} finds the card as {owed:?} left it"));
            self.fetching = false;
        }
        let fetches = command[1] == 0xC0;
        self.expect(Promise::Uninterrupted, !fetches || self.fetching, || format!("{item} fetches nothing"));
        if command[1] == 0x20 {
            self.known.raised = Some(group);
        }
        let Some(card) = self.card.filter(|_| self.card == self.taken) else { return false };
        let left = self.raised();
        self.expect(Promise::Isolated, left.is_none_or(|left| left == group), || {
            format!("{left:?} leaks to {group:?}")
        });
        let first = *self.cards.entry(insertion.to_owned()).or_insert(card);
        self.expect(Promise::OneCardPerInsertion, first == card, || format!("{insertion} means {first} and {card}"));
        if command[1] == 0x20 {
            self.left.raised = Some(group);
        }
        true
    }

    /// Returns the result of the command; `reached` is whether it reached the card.
    pub(super) fn answers(
        &mut self,
        item: usize,
        group: Generation,
        command: &[u8],
        reached: bool,
        fate: Fate,
    ) -> Result<Vec<u8>, SlotError> {
        if !reached {
            return Err(SlotError::CardRemoved);
        }
        if fate == Fate::ResetByAnother {
            self.reset();
            return Err(SlotError::CardReset);
        }
        let fetches = command[1] == 0xC0;
        let is_lost = self.card != self.taken || matches!(fate, Fate::Lost | Fate::ServiceDown);
        if !fetches {
            let again = self.ran.insert((item, command[2]), !is_lost && fate != Fate::More).is_some();
            self.expect(Promise::Once, !again, || format!("command {} of {item} runs again", command[2]));
        } else if fate != Fate::More
            && !is_lost
            && let Some(last) = self.last_command(item)
        {
            self.ran.insert((item, last), true);
        }
        if is_lost {
            return Err(if fate == Fate::ServiceDown { survives(fate).err() } else { None }
                .unwrap_or_else(|| SlotError::Lost("pulled".into())));
        }
        self.fetching = fate == Fate::More;
        // A card may keep its response after a command that it refuses.
        let kept = self.left.unfetched.filter(|_| fate == Fate::Refused);
        self.left.unfetched = self.fetching.then_some(group).or(kept);
        self.known.unfetched = self.left.unfetched;
        Ok(match fate {
            Fate::More => vec![0x61, 0x02],
            Fate::Refused => vec![0x69, 0x82],
            _ if fetches => vec![0xAA, 0xBB, 0x90, 0x00],
            _ => vec![0x90, 0x00],
        })
    }

    fn last_command(&self, item: usize) -> Option<u8> {
        self.ran.keys().filter(|(of, _)| *of == item).map(|&(_, command)| command).max()
    }

    /// Compares the answer to `count` commands of `item`, the first of which has the number `first`, with the commands
    /// that the card received.
    pub(super) fn judge(&mut self, item: usize, first: u8, count: usize, answer: &Result<UnitOutcome, Failure>) {
        let ran = |index: usize| self.ran.get(&(item, first + index as u8)).copied();
        let (answered, stopped) = match answer {
            Err(failure) => (0, Some((0, failure.delivery))),
            Ok(outcome) => {
                let stop = outcome.stopped.as_ref().map(|stop| (stop.index, stop.failure.delivery));
                (stop.map_or(outcome.results.len(), |(index, _)| index), stop)
            }
        };
        let all_reported = (0..answered).all(|index| ran(index) == Some(true));
        let none_hidden = match stopped {
            None => answered == count,
            Some((index, Delivery::NotSent)) => (index..count).all(|index| ran(index).is_none()),
            Some((index, Delivery::Executed)) => {
                ran(index).is_some() && (index + 1..count).all(|index| ran(index).is_none())
            }
            Some((_, Delivery::Unknown)) => true,
        };
        let seen: Vec<_> = (0..count).map(ran).collect();
        self.expect(Promise::TrueAnswer, all_reported && none_hidden, || {
            format!("{item}: {seen:?} is answered as {answer:?}")
        });
    }
}

fn survives(fate: Fate) -> Result<(), SlotError> {
    match fate {
        Fate::Fine | Fate::More | Fate::Refused => Ok(()),
        Fate::Lost | Fate::ResetByAnother => Err(SlotError::Lost("noise".into())),
        Fate::Held => Err(SlotError::Held),
        Fate::Mute => Err(SlotError::Mute("no ATR".into())),
        Fate::ServiceDown => Err(cardbroker_core::slot::ServiceError::Down("gone".into()).into()),
    }
}
