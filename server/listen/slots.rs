//! Connection slots: how many there are for one user and for all, and who makes room for a newcomer. Pure.
//!
//! Whoever has sent a request keeps the place. Whoever has not is on probation, and the oldest of those leaves when a newcomer finds
//! no place: connections that only connect can keep nobody out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cardbroker_core::caller::Principal;
use tokio_util::sync::CancellationToken;

/// What a connection and its place tell each other. Clones belong to the same connection.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionStatus {
    request_seen: Arc<AtomicBool>,
    /// Cancelled when the connection must make room.
    pub(super) evicted: CancellationToken,
}

impl ConnectionStatus {
    /// A request has come: the place is the connection's own from now on.
    pub(super) fn note_request(&self) {
        self.request_seen.store(true, Ordering::Relaxed);
    }

    /// Whether no request has come yet.
    pub(super) fn is_on_probation(&self) -> bool {
        !self.request_seen.load(Ordering::Relaxed)
    }
}

/// What becomes of a newcomer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It has the place.
    Enter,
    /// It waits for a place: one that will be free soon if somebody makes room, else the next one.
    Wait {
        /// Somebody makes room.
        soon: bool,
    },
    /// Its user has as many connections as one may have.
    Refuse,
}

/// The places that are taken, by the numbers of their connections: the oldest comes first.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    max: usize,
    max_per_user: usize,
    taken: BTreeMap<u64, Holder>,
}

/// Whose connections are counted together. All those on the TCP port are, for nobody is known there before the first request.
pub(super) type User = Option<Principal>;

#[derive(Debug)]
struct Holder {
    user: User,
    status: ConnectionStatus,
}

impl ConnectionSlots {
    /// So many slots, of which one user may take so many.
    pub(super) fn new(max: usize, max_per_user: usize) -> Self {
        Self { max, max_per_user, taken: BTreeMap::new() }
    }

    /// How many are taken.
    pub(super) fn open(&self) -> usize {
        self.taken.len()
    }

    /// Whether the connection of that number, a newcomer of `user`, has a place. If not, and that can be helped, another one is evicted.
    ///
    /// Users make room among their own connections once they have all that one may have, so no user can oust all others.
    pub(super) fn enter(&mut self, number: u64, user: &User, status: &ConnectionStatus) -> Ruling {
        let own = |holder: &Holder| holder.user == *user;
        if self.taken.values().filter(|holder| own(holder)).count() >= self.max_per_user {
            return if self.evict(own) { Ruling::Wait { soon: true } } else { Ruling::Refuse };
        }
        if self.taken.len() >= self.max {
            return Ruling::Wait { soon: self.evict(|_| true) };
        }
        self.taken.insert(number, Holder { user: user.clone(), status: status.clone() });
        Ruling::Enter
    }

    /// The connection has closed.
    pub(super) fn leave(&mut self, number: u64) {
        self.taken.remove(&number);
    }

    /// Ousts the oldest on probation among those. One at a time: until it has left, nobody else has to. Returns whether there is one.
    fn evict(&self, among: impl Fn(&Holder) -> bool) -> bool {
        let on_probation = || self.taken.values().filter(|holder| among(holder) && holder.status.is_on_probation());
        if on_probation().any(|holder| holder.status.evicted.is_cancelled()) {
            return true;
        }
        let oldest = on_probation().next();
        oldest.inspect(|holder| holder.status.evicted.cancel()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: User = Some(Principal::User(1001));
    const BOB: User = Some(Principal::User(1002));
    const TCP: User = None;

    /// Slots, and what becomes of the connections that come one after the other.
    struct Door {
        slots: ConnectionSlots,
        standings: Vec<ConnectionStatus>,
    }

    impl Door {
        fn new(max: usize, max_per_user: usize) -> Self {
            Self { slots: ConnectionSlots::new(max, max_per_user), standings: Vec::new() }
        }

        fn comes(&mut self, user: &User) -> Ruling {
            let status = ConnectionStatus::default();
            let ruling = self.slots.enter(self.standings.len() as u64, user, &status);
            self.standings.push(status);
            ruling
        }

        fn asks(&self, number: usize) {
            self.standings[number].note_request();
        }

        fn evicted(&self) -> Vec<usize> {
            let evicted = self.standings.iter().enumerate().filter(|(_, status)| status.evicted.is_cancelled());
            evicted.map(|(number, _)| number).collect()
        }
    }

    #[test]
    fn the_oldest_without_a_request_makes_room() {
        let mut door = Door::new(3, 3);
        for _ in 0..3 {
            assert_eq!(door.comes(&ALICE), Ruling::Enter);
        }
        door.asks(0);
        assert_eq!((door.comes(&BOB), door.evicted()), (Ruling::Wait { soon: true }, vec![1]));
        assert_eq!((door.comes(&BOB), door.evicted()), (Ruling::Wait { soon: true }, vec![1]), "one at a time");
        door.slots.leave(1);
        assert_eq!((door.comes(&BOB), door.slots.open()), (Ruling::Enter, 3));
        assert_eq!((door.comes(&BOB), door.evicted()), (Ruling::Wait { soon: true }, vec![1, 2]));
    }

    #[test]
    fn whoever_has_sent_a_request_stays() {
        let mut door = Door::new(2, 2);
        for number in 0..2 {
            assert_eq!(door.comes(&ALICE), Ruling::Enter);
            door.asks(number);
        }
        assert_eq!((door.comes(&BOB), door.evicted()), (Ruling::Wait { soon: false }, vec![]));
        assert_eq!((door.comes(&ALICE), door.evicted()), (Ruling::Refuse, vec![]));
    }

    #[test]
    fn a_user_with_all_that_one_may_have_makes_room_for_itself() {
        let mut door = Door::new(4, 2);
        for user in [&BOB, &ALICE, &ALICE] {
            assert_eq!(door.comes(user), Ruling::Enter);
        }
        assert_eq!(
            (door.comes(&ALICE), door.evicted()),
            (Ruling::Wait { soon: true }, vec![1]),
            "the older one is Bob's"
        );
        assert_eq!(door.comes(&TCP), Ruling::Enter);
        door.slots.leave(1);
        assert_eq!(door.comes(&ALICE), Ruling::Enter);
    }
}
