//! The ring of the users that wait at one reader, each with its callers in cycles. Pure: no clock, no I/O.
//!
//! ```text
//! ring:  user 1 ─▶ user 2 ─▶ user 3 ─▶ the visited user, behind all others
//!          │ cycle 7 (due): caller a, caller b          each caller with its requests, oldest first
//!          └ cycle 8: caller c (new), caller d (returned)
//! ```
//!
//! A caller has one place, `(cycle, joined)`. A caller that arrives or returns joins the cycle after the running one.
//! Push, peek, take and remove are O(log n).

mod cycle;
mod estimate;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Instant,
};

use crate::turns::{
    hash::IdMap,
    request::{Id, Request},
};

/// The waiting requests, in rounds of users and cycles of callers.
#[derive(Debug, Clone)]
pub struct Rounds<U, C, G> {
    /// The waiting requests by number, which is their order of arrival.
    pub(crate) requests: BTreeMap<u64, Request<U, C, G>>,
    /// The waiting users except the visited one, each under its place in the ring.
    pub(crate) ring: BTreeMap<u64, U>,
    /// The users with a caller in a cycle or with the turn, and the visited user.
    pub(crate) users: IdMap<U, User<C>>,
    /// The callers with a waiting request or with the turn.
    pub(crate) callers: IdMap<C, Caller<U, G>>,
    /// The callers in a cycle by the group of their oldest request. No map is empty.
    groups: IdMap<(U, G), BTreeMap<Place, C>>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// The user of the current visit, and the number of further visits by its share before the ring advances.
    pub(crate) visited: Option<(U, u32)>,
    /// The caller with the turn. It is in no cycle until the turn has ended.
    pub(crate) served: Option<C>,
    last_joined: u64,
}

/// The place of a caller: the number of the cycle, and the place in the cycle.
pub(crate) type Place = (u64, u64);

#[derive(Debug, Clone)]
pub(crate) struct User<C> {
    /// The place in the ring; `None` for the visited user and for a user without callers in a cycle.
    pub(crate) place: Option<u64>,
    /// The number of the running cycle. Callers join the next one.
    pub(crate) cycle: u64,
    pub(crate) callers: BTreeMap<Place, C>,
    pub(crate) share: u32,
    /// The number of waiting requests, including those of the caller with the turn.
    pub(crate) requests: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Caller<U, G> {
    pub(crate) user: U,
    /// The place in a cycle, and the group of the oldest request, by which `groups` has the caller. `None` while the
    /// caller has the turn.
    pub(crate) place: Option<(Place, G)>,
    pub(crate) requests: BTreeSet<u64>,
}

impl<U: Id, C: Id, G: Id> Default for Rounds<U, C, G> {
    fn default() -> Self {
        Self {
            requests: BTreeMap::new(),
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
    /// The number of waiting requests.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is no waiting request.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The waiting request with this number, if any.
    pub fn get(&self, number: u64) -> Option<&Request<U, C, G>> {
        self.requests.get(&number)
    }

    /// The number of waiting requests of `caller`.
    pub fn len_of(&self, caller: C) -> usize {
        self.callers.get(&caller).map_or(0, |caller| caller.requests.len())
    }

    /// The number of waiting requests of `user`.
    pub fn requests_of(&self, user: U) -> usize {
        self.users.get(&user).map_or(0, |user| user.requests)
    }

    /// The number of further visits of the visited user before the ring advances.
    pub fn visits_left(&self) -> u32 {
        self.visited.map_or(0, |(_, left)| left)
    }

    /// The number of callers with a waiting request.
    pub fn waiting_callers(&self) -> usize {
        let served = self.served.is_some_and(|caller| self.len_of(caller) == 0);
        self.callers.len() - usize::from(served)
    }

    /// The earliest deadline of a waiting request.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Adds a waiting request. A number that already waits is ignored.
    pub fn push(&mut self, request: Request<U, C, G>) {
        let Request { number, user, caller, share, deadline, .. } = request;
        let Entry::Vacant(free) = self.requests.entry(number) else { return };
        free.insert(request);
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

    /// The request that begins the next visit. The next user is selected first. Of its callers in the running cycle,
    /// one whose group holds the card is preferred; otherwise it is the one that joined first. The result is that
    /// caller's oldest request.
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

    /// The oldest request of the first caller of `group`, in the running cycle if possible, otherwise in the next.
    pub fn peek_group(&self, user: U, group: G) -> Option<u64> {
        let (_, &caller) = self.groups.get(&(user, group))?.first_key_value()?;
        self.oldest_of(caller)
    }

    /// The oldest waiting request of `caller`.
    pub fn oldest_of(&self, caller: C) -> Option<u64> {
        self.callers.get(&caller)?.requests.first().copied()
    }

    /// Removes a request whose turn begins. `starts_visit` is whether a visit begins with it. Ends the turn before, as
    /// [`Self::end_turn`] does.
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

    /// Ends the turn. Its caller joins the user's next cycle, after callers that returned before this moment.
    pub fn end_turn(&mut self) {
        let Some(caller) = self.served.take() else { return };
        if self.oldest_of(caller).is_some() {
            self.join(caller);
        } else if let Some(Caller { user, .. }) = self.callers.remove(&caller) {
            self.forget_idle(user);
        }
    }

    /// Ends the further visits that the visited user has by its share.
    pub fn end_share(&mut self) {
        if let Some((_, left)) = &mut self.visited {
            *left = 0;
        }
    }

    /// Skips a visit of `user`: moves the user to the end of the ring as if it had been visited.
    pub fn sit_out(&mut self, user: U) {
        self.visit(user);
    }

    /// Removes the waiting request with this number.
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
            // The oldest request now belongs to another group.
            (Some((place, before)), Some(group)) if before != group => {
                caller.place = Some((place, group));
                self.leave_group((request.user, before), place);
                self.groups.entry((request.user, group)).or_default().insert(place, request.caller);
            }
            _ => {}
        }
        Some(request)
    }

    /// Removes one request whose deadline has passed.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Request<U, C, G>> {
        let &(deadline, number) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(number)
    }

    /// The arrival of the oldest waiting request outside the group `group` of `user`. O(older requests of the group).
    pub fn oldest_of_others(&self, user: U, group: G) -> Option<Instant> {
        let mut others = self.requests.values().filter(|request| (request.user, request.group) != (user, group));
        others.next().map(|request| request.arrived)
    }

    /// The number of waiting callers outside the group `group` of `user`, and the number of their users.
    pub fn others(&self, user: U, group: G) -> (usize, usize) {
        let of_group = self.groups.get(&(user, group)).map_or(0, BTreeMap::len);
        let served = usize::from(self.served.is_some());
        let is_waiting = |user: &&User<C>| user.place.is_none() && !user.callers.is_empty();
        let visited = self.visited.and_then(|(visited, _)| self.users.get(&visited)).filter(is_waiting);
        let own = self.users.get(&user).map_or(0, |user| user.callers.len());
        let users = self.ring.len() + usize::from(visited.is_some()) - usize::from(own > 0 && own == of_group);
        (self.callers.len() - served - of_group, users)
    }

    /// Whether a user other than `user` waits.
    pub fn is_another_user_waiting(&self, user: U) -> bool {
        let visited = self.visited.filter(|(visited, _)| *visited != user);
        self.ring.values().take(2).any(|other| *other != user)
            || visited.is_some_and(|(user, _)| self.users.get(&user).is_some_and(|user| !user.callers.is_empty()))
    }
}
