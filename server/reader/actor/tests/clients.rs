//! The reader's callers: their requests, the answers so far, and the expected state of the queue.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use cardbroker_core::{caller::CallerKey, turns::limits::QueueLimits};
use futures_util::FutureExt;

use super::{
    super::*,
    history::{CALLERS, GROUPS, USERS, Wish},
    witness::Generation,
};
use crate::{
    caller::group::{Group, GroupKey, Groups},
    reader::{
        Submission,
        handle::ReaderHandle,
        session::{Opening, Session, SessionReset, SessionUnit},
    },
};

/// Five requests of one user.
pub(super) const LIMITS: QueueLimits = QueueLimits { per_caller: 4, per_reader: 20 };

pub(super) struct Clients {
    pub(super) handle: ReaderHandle,
    pub(super) groups: Groups,
    pub(super) members: Vec<(u64, Arc<Group>)>,
    pub(super) items: Vec<Item>,
    pub(super) requested: Vec<SessionUnitItem>,
    pub(super) resets: Vec<(usize, SessionReset)>,
    pub(super) closing: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(super) last_turn: u64,
    /// The user and the group of the last turn, and since when they have the card.
    pub(super) visit: Option<(usize, Generation, Instant)>,
    /// How many visits each user has had while another one waits for its next turn.
    pub(super) visits: [[usize; USERS]; USERS],
}

/// A request for a unit or a session. Its index in the list identifies it, and is its number in the queue.
pub(super) struct Item {
    pub(super) wish: Wish,
    pub(super) deadline: Instant,
    pub(super) stage: Stage,
    pub(super) hand: Hand,
    pub(super) group: Generation,
    pub(super) insertion: String,
    /// The number of the same caller's requests that wait before it.
    pub(super) ahead: usize,
    /// The number of visits of each caller of the same user since it arrived.
    pub(super) turns: [usize; CALLERS],
    /// Whether one of those began while its group held the card.
    pub(super) overtaken: [bool; CALLERS],
    pub(super) commands: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Begun,
    Over,
}

/// The caller's side of the request.
pub(super) enum Hand {
    Unit(Submission),
    Opening(Opening),
    Session(Box<Session>),
    Empty,
}

impl Hand {
    fn take_session(&mut self) -> Option<Box<Session>> {
        match std::mem::replace(self, Self::Empty) {
            Self::Session(session) => Some(session),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// A unit of a session.
pub(super) struct SessionUnitItem {
    pub(super) item: usize,
    pub(super) first: u8,
    pub(super) count: usize,
    pub(super) unit: SessionUnit,
}

impl Clients {
    pub(super) fn new(handle: ReaderHandle) -> Self {
        let groups = Groups::default();
        let members = (0..GROUPS).map(|group| (0, groups.join(group_key(group)))).collect();
        let (items, requested, resets, closing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let visits = [[0; USERS]; USERS];
        Self { handle, groups, members, items, requested, resets, closing, last_turn: 0, visit: None, visits }
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.stage == Stage::Waiting)
    }

    pub(super) fn has_ended(&self, (group, generation): Generation) -> bool {
        self.members[group].0 != generation
    }

    /// Returns the item of a unit, from the second parameter byte of its commands.
    pub(super) fn item_of(&self, ticket: &Ticket) -> Option<usize> {
        Some(usize::from(ticket.commands.first()?.apdu()?.header()[3]))
    }

    pub(super) fn holder(&self, item: usize) -> (Generation, String) {
        (self.items[item].group, self.items[item].insertion.clone())
    }

    pub(super) fn all_done(&self) -> bool {
        self.items.iter().all(|item| item.stage == Stage::Over)
            && self.requested.is_empty()
            && self.resets.is_empty()
            && self.closing.is_empty()
    }

    pub(super) fn close_all(&mut self) {
        for item in 0..self.items.len() {
            self.close(item);
        }
    }

    pub(super) fn close(&mut self, item: usize) {
        let item = &mut self.items[item];
        let Some(session) = item.hand.take_session() else { return };
        item.stage = Stage::Over;
        let mut closing: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(session.close());
        if (&mut closing).now_or_never().is_none() {
            self.closing.push(closing);
        }
    }

    /// The caller of this item disconnects, if there is such an item.
    pub(super) fn drop_item(&mut self, item: usize) {
        self.items[item].hand = Hand::Empty;
        self.items[item].stage = Stage::Over;
        self.requested.retain(|requested| requested.item != item);
        self.resets.retain(|(of, _)| *of != item);
    }

    pub(super) fn drop_all(&mut self, condition: impl Fn(&Item) -> bool) {
        (0..self.items.len())
            .filter(|&item| condition(&self.items[item]))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|item| self.drop_item(item));
    }

    /// Picks the number of a request that has the turn or waits for it.
    pub(super) fn pick(&self, which: usize, is_right: impl Fn(&Hand) -> bool) -> Option<usize> {
        let numbers: Vec<_> = (0..self.items.len()).filter(|&item| is_right(&self.items[item].hand)).collect();
        numbers.get(which % numbers.len().max(1)).copied()
    }
}

pub(super) fn group_key(group: usize) -> GroupKey {
    GroupKey::Caller(CallerKey::Connection(group as u64))
}
