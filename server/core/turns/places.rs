//! Places that users share: in a reader's queue, connections, or bytes of kept outcomes. One user holds at most a
//! quarter. The last eighth is reserved for users that hold at most a sixty-fourth. Pure.

use std::collections::HashMap;

use crate::turns::request::Id;

/// The reason why a user gets no further place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The user would hold more than a quarter.
    Quarter,
    /// Only the last eighth is free, and the user would hold more than a sixty-fourth.
    Reserved,
    /// Too few places are free.
    Full,
}

/// Places for users of type `U`: requests, connections or bytes.
#[derive(Debug)]
pub struct Places<U> {
    all: u64,
    taken: u64,
    /// The number of places of each user that holds any.
    held: HashMap<U, u64>,
}

impl<U: Id> Places<U> {
    /// Creates `all` places, none of them taken.
    pub fn new(all: u64) -> Self {
        Self { all, taken: 0, held: HashMap::new() }
    }

    /// The maximum for one user: a quarter, at least one place.
    pub fn per_user(&self) -> u64 {
        (self.all / 4).max(1)
    }

    /// The maximum for a user that takes places of the last eighth: a sixty-fourth, at least one place.
    pub fn next_to_nothing(&self) -> u64 {
        (self.all / 64).max(1)
    }

    /// The number of places that `user` holds.
    pub fn held_by(&self, user: U) -> u64 {
        self.held.get(&user).copied().unwrap_or(0)
    }

    /// The number of taken places, of all users.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes `count` places for `user`, all or none.
    ///
    /// # Errors
    /// The limit that the places would exceed. The user's own limit is checked first, because places that other users
    /// give back do not lift it.
    pub fn take(&mut self, user: U, count: u64) -> Result<(), Refused> {
        let held = self.held_by(user).saturating_add(count);
        let taken = self.taken.saturating_add(count);
        if held > self.per_user() {
            return Err(Refused::Quarter);
        }
        if taken > self.all {
            return Err(Refused::Full);
        }
        if taken > self.all - self.all / 8 && held > self.next_to_nothing() {
            return Err(Refused::Reserved);
        }
        if count > 0 {
            self.held.insert(user, held);
            self.taken = taken;
        }
        Ok(())
    }

    /// Gives back `count` places of `user`, or all of its places if it holds fewer.
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
        assert_eq!(places.take('a', 1), Err(Refused::Quarter));
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
    fn few_places_still_admit_one_each() {
        let mut places = Places::new(3);
        assert_eq!([places.take('a', 1), places.take('a', 1)], [Ok(()), Err(Refused::Quarter)]);
        assert_eq!([places.take('b', 1), places.take('c', 1)], [Ok(()), Ok(())]);
        assert_eq!(places.take('d', 1), Err(Refused::Full));
    }

    #[test]
    fn bytes_are_taken_all_or_none() {
        let mut places = Places::new(64 << 20);
        places.take(1, 16 << 20).unwrap();
        assert_eq!((places.take(1, 1), places.take(2, 17 << 20)), (Err(Refused::Quarter), Err(Refused::Quarter)));
        assert_eq!((places.held_by(1), places.held_by(2)), (16 << 20, 0));
    }
}
