//! An estimate of the number of turns before a waiting request.
//!
//! The estimate assumes that no request arrives or leaves and that every visit is one turn. It is then exact, except
//! for callers of the same user that go first because their group holds the card. If visits have more turns, each visit
//! before the request may have as many turns as fit into its quantum, and the request itself may come earlier, inside a
//! visit of its group.

use super::{Rounds, User};
use crate::turns::request::Id;

/// The position of a turn among all turns: the round, the user's place in it, and the number of the user's turn.
type Round = (u64, u64, u64);

impl<U: Id, C: Id, G: Id> Rounds<U, C, G> {
    /// The waiting requests of `caller` in the order of their turns, each with the number of turns before it. The
    /// current turn is not counted. O((users + callers of the user) · requests of the caller).
    pub fn turns_ahead_of(&self, caller: C) -> Vec<(u64, usize)> {
        let Some(of_caller) = self.callers.get(&caller) else { return Vec::new() };
        let Some(user) = self.users.get(&of_caller.user) else { return Vec::new() };
        let order = self.order(user);
        let Some(own) = order.iter().position(|(_, other, _)| *other == caller) else { return Vec::new() };
        let (is_due, _, _) = order[own];
        let place = self.place(user);
        let turns_before = |index: usize| -> usize {
            let pass = pass_of(is_due, index);
            let of = |(position, &(is_due, _, requests)): (usize, &(bool, C, usize))| {
                // A caller has one turn in each pass, from its first pass on.
                let first = pass_of(is_due, 0);
                requests.min(pass.saturating_sub(first) + usize::from(position < own && pass >= first))
            };
            order.iter().enumerate().filter(|(position, _)| *position != own).map(of).sum::<usize>() + index
        };
        let requests = of_caller.requests.iter().copied().enumerate();
        requests
            .map(|(index, number)| {
                let turn = turns_before(index);
                let (round, ..) = self.round(user, turn);
                let others = self.users.values().filter(|other| self.place(other) != place);
                let ahead = others.map(|other| {
                    let rounds = u64::from(self.place(other) < place) + round;
                    let left = u64::from(self.left(other));
                    let before = if rounds == 0 { 0 } else { left + u64::from(other.share) * (rounds - 1) };
                    other.requests.min(usize::try_from(before).unwrap_or(usize::MAX))
                });
                (number, turn + ahead.sum::<usize>())
            })
            .collect()
    }

    /// All waiting requests in the order of their turns. O(n log n).
    pub fn in_order(&self) -> Vec<u64> {
        let mut turns: Vec<(Round, u64)> = Vec::with_capacity(self.requests.len());
        for user in self.users.values() {
            let mut of_user = Vec::with_capacity(user.requests);
            for (position, (is_due, caller, _)) in self.order(user).into_iter().enumerate() {
                let requests = self.callers.get(&caller).into_iter().flat_map(|caller| &caller.requests);
                of_user.extend(requests.enumerate().map(|(index, number)| (pass_of(is_due, index), position, *number)));
            }
            of_user.sort_unstable();
            let turn = |(turn, (_, _, number)): (usize, (usize, usize, u64))| (self.round(user, turn), number);
            turns.extend(of_user.into_iter().enumerate().map(turn));
        }
        turns.sort_unstable();
        turns.into_iter().map(|(_, number)| number).collect()
    }

    /// The user's callers in the order of a pass, each with whether it is due in the running cycle and its number of
    /// requests. In later passes, callers that are due now come after the others.
    fn order(&self, user: &User<C>) -> Vec<(bool, C, usize)> {
        let running = user.callers.first_key_value().map(|((cycle, _), _)| *cycle);
        let of = |is_due: bool, caller: C| (is_due, caller, self.len_of(caller));
        let is_due = |cycle: u64| running == Some(cycle);
        let later = user.callers.iter().filter(|((cycle, _), _)| !is_due(*cycle)).map(|(_, &caller)| of(false, caller));
        let served = self.served.filter(|&caller| {
            self.callers.get(&caller).is_some_and(|caller| {
                !caller.requests.is_empty() && self.users.get(&caller.user).is_some_and(|of| std::ptr::eq(of, user))
            })
        });
        let due = user.callers.iter().filter(|((cycle, _), _)| is_due(*cycle)).map(|(_, &caller)| of(true, caller));
        later.chain(served.map(|caller| of(false, caller))).chain(due).collect()
    }

    /// The user's place in the ring. The visited user is behind all others.
    fn place(&self, user: &User<C>) -> u64 {
        user.place.unwrap_or(u64::MAX)
    }

    /// The number of visits that the user has before the ring advances.
    fn left(&self, user: &User<C>) -> u32 {
        match self.visited {
            Some((_, left)) if user.place.is_none() => left,
            _ => 0,
        }
    }

    fn round(&self, user: &User<C>, turn: usize) -> Round {
        let (turn, left) = (turn as u64, u64::from(self.left(user)));
        let round = turn.checked_sub(left).map_or(0, |after| 1 + after / u64::from(user.share));
        (round, self.place(user), turn)
    }
}

/// The pass through the user's callers in which a caller has its turn number `index`. Callers that are due begin one
/// pass earlier.
fn pass_of(is_due: bool, index: usize) -> usize {
    index + usize::from(!is_due)
}
