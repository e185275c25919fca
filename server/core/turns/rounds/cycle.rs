//! The changes of the rounds: callers join and leave their user's cycle, users the ring.

use super::{Place, Rounds, User};
use crate::turns::request::Id;

impl<U: Id, C: Id, G: Id> Rounds<U, C, G> {
    /// Adds a waiting caller to the cycle after the running one.
    pub(super) fn join(&mut self, caller: C) {
        self.last_joined += 1;
        let joined = self.last_joined;
        let Some(of_caller) = self.callers.get_mut(&caller) else { return };
        let head = of_caller.requests.first().and_then(|first| self.requests.get(first));
        let (Some(request), Some(user)) = (head, self.users.get_mut(&of_caller.user)) else { return };
        let place = (user.cycle + 1, joined);
        of_caller.place = Some((place, request.group));
        user.callers.insert(place, caller);
        self.groups.entry((of_caller.user, request.group)).or_default().insert(place, caller);
        if user.place.is_none() && self.visited.is_none_or(|(visited, _)| visited != of_caller.user) {
            user.place = Some(joined);
            self.ring.insert(joined, of_caller.user);
        }
    }

    pub(super) fn leave_cycle(&mut self, caller: C) {
        let Some(of_caller) = self.callers.get_mut(&caller) else { return };
        let Some((place, group)) = of_caller.place.take() else { return };
        let user = of_caller.user;
        self.leave_group((user, group), place);
        let Some(of_user) = self.users.get_mut(&user) else { return };
        of_user.callers.remove(&place);
        if of_user.callers.is_empty()
            && let Some(place) = of_user.place.take()
        {
            self.ring.remove(&place);
        }
    }

    pub(super) fn leave_group(&mut self, group: (U, G), place: Place) {
        if let Some(callers) = self.groups.get_mut(&group) {
            callers.remove(&place);
            if callers.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// Begins a visit of `user`. The previously visited user joins the end of the ring only now: users that send their
    /// next request after an answer have had the time to join before it, so a user that pipelines does not overtake
    /// them.
    pub(super) fn visit(&mut self, user: U) {
        let share = self.users.get(&user).map_or(1, |user| user.share);
        match self.visited {
            Some((visited, left)) if visited == user => {
                self.visited = Some((user, left.checked_sub(1).unwrap_or(share - 1)));
                return;
            }
            before => self.visited = before.map(|(before, _)| (before, 0)),
        }
        let before = self.visited.replace((user, share - 1));
        if let Some(of_user) = self.users.get_mut(&user)
            && let Some(place) = of_user.place.take()
        {
            self.ring.remove(&place);
        }
        let Some((before, _)) = before else { return };
        if let Some(of_user) = self.users.get_mut(&before)
            && !of_user.callers.is_empty()
        {
            self.last_joined += 1;
            of_user.place = Some(self.last_joined);
            self.ring.insert(self.last_joined, before);
        }
        self.forget_idle(before);
    }

    pub(super) fn forget_idle(&mut self, user: U) {
        let is_visited = self.visited.is_some_and(|(visited, _)| visited == user);
        let is_served = |of_user: &User<C>| of_user.requests > 0;
        if !is_visited && self.users.get(&user).is_some_and(|user| user.callers.is_empty() && !is_served(user)) {
            self.users.remove(&user);
        }
    }
}
