//! Places that users share: of a reader's queue, of the connections, of the bytes of kept outcomes. One user holds at
//! most a quarter, and the last eighth is for small users, which hold at most a sixty-fourth. Pure.

use std::{collections::HashMap, hash::Hash};

/// The limit that a user's further places would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The user would hold more than [`Places::per_user`].
    UserLimit,
    /// Only the last eighth is free, and the user would hold more than [`Places::small_user_limit`].
    Reserved,
    /// Too few places are free for any user.
    Full,
}

/// Places for users of type `U`: requests, connections or bytes.
#[derive(Debug)]
pub struct Places<U> {
    all: u64,
    per_user: u64,
    taken: u64,
    /// The places of each user. No number is 0.
    held: HashMap<U, u64>,
}

impl<U: Eq + Hash> Places<U> {
    /// Creates `all` free places, of which one user holds at most a quarter.
    pub fn new(all: u64) -> Self {
        Self::with_per_user(all, (all / 4).max(1))
    }

    /// Creates `all` free places, of which one user holds at most `per_user`.
    pub fn with_per_user(all: u64, per_user: u64) -> Self {
        Self { all, per_user, taken: 0, held: HashMap::new() }
    }

    /// The maximum number of one user's places: a quarter of all, at least 1, unless [`Places::with_per_user`] set it.
    pub fn per_user(&self) -> u64 {
        self.per_user
    }

    /// The maximum number of a small user's places: a sixty-fourth of all, at least 1.
    pub fn small_user_limit(&self) -> u64 {
        (self.all / 64).max(1)
    }

    /// The number of places that `user` holds.
    pub fn held_by(&self, user: U) -> u64 {
        self.held.get(&user).copied().unwrap_or(0)
    }

    /// The number of places that all users hold together.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes `count` places for `user`, all or none.
    ///
    /// # Errors
    /// The limit that they would exceed. The user's own limit is checked first: waiting for others does not help then.
    pub fn take(&mut self, user: U, count: u64) -> Result<(), Refused> {
        let (held, taken) = self.after(&user, 0, count)?;
        if count > 0 {
            self.held.insert(user, held);
            self.taken = taken;
        }
        Ok(())
    }

    /// Checks that `user` could take `count` places after it has given back `freed`, at most those that it holds.
    ///
    /// # Errors
    /// As [`Places::take`].
    pub fn check(&self, user: &U, freed: u64, count: u64) -> Result<(), Refused> {
        self.after(user, freed, count).map(drop)
    }

    /// The numbers of the user's and of all taken places after `freed` are given back and `count` are taken.
    fn after(&self, user: &U, freed: u64, count: u64) -> Result<(u64, u64), Refused> {
        let held = self.held.get(user).copied().unwrap_or(0);
        let freed = freed.min(held);
        let (held, taken) = ((held - freed).saturating_add(count), (self.taken - freed).saturating_add(count));
        if held > self.per_user {
            return Err(Refused::UserLimit);
        }
        if taken > self.all {
            return Err(Refused::Full);
        }
        if taken > self.all - self.all / 8 && held > self.small_user_limit() {
            return Err(Refused::Reserved);
        }
        Ok((held, taken))
    }

    /// Gives back `count` places of `user`, at most those that it holds.
    pub fn give_back(&mut self, user: U, count: u64) {
        let Some(held) = self.held.get_mut(&user) else { return };
        let count = count.min(*held);
        *held -= count;
        self.taken -= count;
        if *held == 0 {
            self.held.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_holds_at_most_a_quarter_and_four_leave_the_last_eighth() {
        let mut places = Places::new(64);
        assert_eq!((0..17).map_while(|_| places.take('a', 1).ok()).count(), 16);
        assert_eq!(places.take('a', 1), Err(Refused::UserLimit));
        for user in ['b', 'c'] {
            places.take(user, 16).unwrap();
        }
        assert_eq!((0..16).map_while(|_| places.take('d', 1).ok()).count(), 8);
        assert_eq!(places.take('d', 1), Err(Refused::Reserved));
        for user in 'e'..='l' {
            places.take(user, 1).unwrap();
            assert!(places.take(user, 1).is_err(), "{user}");
        }
        assert_eq!((places.take('m', 1), places.taken()), (Err(Refused::Full), 64));
        places.give_back('a', 99);
        assert_eq!((places.held_by('a'), places.taken(), places.take('m', 1)), (0, 48, Ok(())));
    }

    #[test]
    fn another_limit_than_a_quarter_leaves_the_last_eighth() {
        let mut places = Places::with_per_user(64, 64);
        assert_eq!((places.take('a', 56), places.take('a', 1)), (Ok(()), Err(Refused::Reserved)));
        assert_eq!([places.take('b', 1), places.take('b', 1)], [Ok(()), Err(Refused::Reserved)]);
        assert_eq!(Places::with_per_user(64, 1).take('a', 2), Err(Refused::UserLimit));
    }

    #[test]
    fn few_places_still_admit_one_each() {
        let mut places = Places::new(3);
        assert_eq!([places.take('a', 1), places.take('a', 1)], [Ok(()), Err(Refused::UserLimit)]);
        assert_eq!([places.take('b', 1), places.take('c', 1)], [Ok(()), Ok(())]);
        assert_eq!(places.take('d', 1), Err(Refused::Full));
    }

    #[test]
    fn bytes_are_taken_all_or_none() {
        let mut places = Places::new(64 << 20);
        places.take(1, 16 << 20).unwrap();
        assert_eq!((places.take(1, 1), places.take(2, 17 << 20)), (Err(Refused::UserLimit), Err(Refused::UserLimit)));
        assert_eq!((places.held_by(1), places.held_by(2)), (16 << 20, 0));
        assert_eq!((places.check(&1, 3, 3), places.check(&1, 3, 4)), (Ok(()), Err(Refused::UserLimit)));
        assert_eq!((places.check(&2, 3, 16 << 20), places.taken()), (Ok(()), 16 << 20));
    }
}
