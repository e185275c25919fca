//! The ring of the users that wait at one reader, each with a cycle of callers still to be visited. Pure: no clock, no
//! I/O.
//!
//! ```text
//! ring:  user 1 ─▶ user 2 ─▶ user 3 ─▶ the user of the visit under way, behind all others
//!          │ cycle 7 (due): caller a, caller b          each caller with its requests, oldest first
//!          └ cycle 8: caller c (new), caller d (came back)
//! ```
//!
//! A caller has one place, `(cycle, joined)`. A caller that comes or comes back joins the cycle after the running one.
//! To push, peek, take or remove costs O(log n).

mod cycle;
mod estimate;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crate::turns::{
    hash::IdMap,
    request::{Id, Request},
};

/// The requests that wait, in rounds of users and cycles of callers.
#[derive(Debug, Clone)]
pub struct Rounds<U, C, G> {
    pub(crate) requests: IdMap<u64, Request<U, C, G>>,
    /// The waiting users but the visited one, each under its place in the ring.
    pub(crate) ring: BTreeMap<u64, U>,
    /// Users with a caller in a cycle or with a turn, and the visited one.
    pub(crate) users: IdMap<U, User<C>>,
    /// Callers with something waiting or with the turn.
    pub(crate) callers: IdMap<C, Caller<U, G>>,
    /// The callers in a cycle by the group of their oldest request. No map is empty.
    groups: IdMap<(U, G), BTreeMap<Place, C>>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// The user whose visit is under way, and how many further visits its share gives it before the ring goes on.
    pub(crate) visited: Option<(U, u32)>,
    /// The caller with the turn. It is in no cycle before the turn has ended.
    pub(crate) served: Option<C>,
    last_joined: u64,
}

/// Where a caller stands: the number of the cycle, and its place in it.
pub(crate) type Place = (u64, u64);

#[derive(Debug, Clone)]
pub(crate) struct User<C> {
    /// In the ring; `None` for the visited user and for one without callers in a cycle.
    pub(crate) place: Option<u64>,
    /// The running cycle: callers join the next one.
    pub(crate) cycle: u64,
    pub(crate) callers: BTreeMap<Place, C>,
    pub(crate) share: u32,
    /// Requests that wait, those of the caller with the turn included.
    pub(crate) requests: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Caller<U, G> {
    pub(crate) user: U,
    /// `None` while the caller has the turn; otherwise with the group of the oldest request, under which it is found.
    pub(crate) place: Option<(Place, G)>,
    pub(crate) requests: BTreeSet<u64>,
}

impl<U: Id, C: Id, G: Id> Default for Rounds<U, C, G> {
    fn default() -> Self {
        Self {
            requests: IdMap::default(),
            ring: BTreeMap::new(),
            users: IdMap::default(),
            callers: IdMap::default(),
            groups: IdMap::default(),
            deadlines: BTreeSet::new(),
            visited: None,
            served: None,
            last_joined: 0,
        }
    }
}

impl<U: Id, C: Id, G: Id> Rounds<U, C, G> {
    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The request of that number, if it waits.
    pub fn get(&self, number: u64) -> Option<&Request<U, C, G>> {
        self.requests.get(&number)
    }

    /// How many requests of `caller` wait.
    pub fn len_of(&self, caller: C) -> usize {
        self.callers.get(&caller).map_or(0, |caller| caller.requests.len())
    }

    /// How many requests of `user` wait.
    pub fn requests_of(&self, user: U) -> usize {
        self.users.get(&user).map_or(0, |user| user.requests)
    }

    /// How many visits the visited user still has before the ring goes on.
    pub fn visits_left(&self) -> u32 {
        self.visited.map_or(0, |(_, left)| left)
    }

    /// How many callers wait.
    pub fn waiting_callers(&self) -> usize {
        let served = self.served.is_some_and(|caller| self.len_of(caller) == 0);
        self.callers.len() - usize::from(served)
    }

    /// When the next request expires.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Lets `request` wait. A number that waits already is ignored.
    pub fn push(&mut self, request: Request<U, C, G>) {
        let Request { number, user, caller, share, deadline, .. } = request;
        if self.requests.insert(number, request).is_some() {
            return;
        }
        self.deadlines.insert((deadline, number));
        let of_user = self.users.entry(user).or_insert_with(|| User {
            place: None,
            cycle: 0,
            callers: BTreeMap::new(),
            share: 1,
            requests: 0,
        });
        of_user.share = share.clamp(1, 100);
        of_user.requests += 1;
        let of_caller =
            self.callers.entry(caller).or_insert_with(|| Caller { user, place: None, requests: BTreeSet::new() });
        of_caller.requests.insert(number);
        if of_caller.place.is_none() && self.served != Some(caller) {
            self.join(caller);
        }
    }

    /// The request that begins the next visit: of the next user, of the caller whose group holds the card, else of the
    /// oldest one left in the user's cycle, the oldest request.
    pub fn peek(&self, holds_card: Option<G>) -> Option<u64> {
        let user = self.next_user()?;
        let (&first, &oldest) = self.users.get(&user)?.callers.first_key_value()?;
        let of_group = holds_card.and_then(|group| self.groups.get(&(user, group))?.first_key_value());
        let caller = of_group.filter(|((cycle, _), _)| *cycle == first.0).map_or(oldest, |(_, &caller)| caller);
        self.oldest_of(caller)
    }

    /// The user of the next visit.
    pub fn next_user(&self) -> Option<U> {
        let again = self.visited.filter(|(user, _)| self.users.get(user).is_some_and(|user| !user.callers.is_empty()));
        match again {
            Some((user, left)) if left > 0 || self.ring.is_empty() => Some(user),
            _ => self.ring.first_key_value().map(|(_, &user)| user),
        }
    }

    /// The oldest request of the first caller of `group`: one that is due in this cycle, else one of the next.
    pub fn peek_group(&self, user: U, group: G) -> Option<u64> {
        let (_, &caller) = self.groups.get(&(user, group))?.first_key_value()?;
        self.oldest_of(caller)
    }

    /// The oldest request of `caller`.
    pub fn oldest_of(&self, caller: C) -> Option<u64> {
        self.callers.get(&caller)?.requests.first().copied()
    }

    /// Takes out a request whose turn begins; `starts_visit` says whether a visit begins with it. The turn before has
    /// ended ([`Self::end_turn`]).
    pub fn take(&mut self, number: u64, starts_visit: bool) -> Option<Request<U, C, G>> {
        self.end_turn();
        let request = *self.requests.get(&number)?;
        let place = self.callers.get(&request.caller)?.place;
        self.served = Some(request.caller);
        self.leave_cycle(request.caller);
        if starts_visit {
            self.visit(request.user);
            if let (Some(user), Some(((cycle, _), _))) = (self.users.get_mut(&request.user), place) {
                user.cycle = cycle.max(user.cycle);
            }
        }
        self.remove(number)
    }

    /// The turn has ended: its caller joins the user's next cycle, behind callers that have asked again since their
    /// turns.
    pub fn end_turn(&mut self) {
        let Some(caller) = self.served.take() else { return };
        if self.oldest_of(caller).is_some() {
            self.join(caller);
        } else if let Some(Caller { user, .. }) = self.callers.remove(&caller) {
            self.forget_idle(user);
        }
    }

    /// Sends `user` to the end of the ring without a visit. It counts as visited.
    pub fn sit_out(&mut self, user: U) {
        self.visit(user);
    }

    /// Takes out one request, wherever it waits.
    pub fn remove(&mut self, number: u64) -> Option<Request<U, C, G>> {
        let request = self.requests.remove(&number)?;
        self.deadlines.remove(&(request.deadline, number));
        if let Some(user) = self.users.get_mut(&request.user) {
            user.requests -= 1;
        }
        let caller = self.callers.get_mut(&request.caller)?;
        caller.requests.remove(&number);
        let head = caller.requests.first().and_then(|first| self.requests.get(first)).map(|request| request.group);
        match (caller.place, head) {
            (Some(_), None) => {
                self.leave_cycle(request.caller);
                self.callers.remove(&request.caller);
                self.forget_idle(request.user);
            }
            // The oldest request is of another group now.
            (Some((place, before)), Some(group)) if before != group => {
                caller.place = Some((place, group));
                self.leave_group((request.user, before), place);
                self.groups.entry((request.user, group)).or_default().insert(place, request.caller);
            }
            _ => {}
        }
        Some(request)
    }

    /// Takes out one request whose deadline has come.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Request<U, C, G>> {
        let &(deadline, number) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(number)
    }

    /// How many callers of other groups than `group` of `user` wait, and how many users they belong to.
    pub fn others(&self, user: U, group: G) -> (usize, usize) {
        let of_group = self.groups.get(&(user, group)).map_or(0, BTreeMap::len);
        let served = usize::from(self.served.is_some());
        let is_waiting = |user: &&User<C>| user.place.is_none() && !user.callers.is_empty();
        let visited = self.visited.and_then(|(visited, _)| self.users.get(&visited)).filter(is_waiting);
        let own = self.users.get(&user).map_or(0, |user| user.callers.len());
        let users = self.ring.len() + usize::from(visited.is_some()) - usize::from(own > 0 && own == of_group);
        (self.callers.len() - served - of_group, users)
    }

    /// Whether another user than `user` waits.
    pub fn is_another_user_waiting(&self, user: U) -> bool {
        let visited = self.visited.filter(|(visited, _)| *visited != user);
        self.ring.values().take(2).any(|other| *other != user)
            || visited.is_some_and(|(user, _)| self.users.get(&user).is_some_and(|user| !user.callers.is_empty()))
    }
}
