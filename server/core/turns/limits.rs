//! The limits of the waiting requests at one reader.

use crate::turns::{
    places::{Places, Refused},
    request::Id,
};

/// The limits of a reader's waiting requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// The maximum number for one caller.
    pub per_caller: usize,
    /// The maximum number for all callers together.
    pub per_reader: usize,
}

/// The limit of a reader's queue that a further request would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The caller has [`QueueLimits::per_caller`] waiting requests.
    #[error(
        "this caller already has {0} requests waiting for the reader, the most allowed: retry when some are answered"
    )]
    Caller(usize),
    /// The user has a quarter of [`QueueLimits::per_reader`].
    #[error(
        "this user already has {0} requests waiting for the reader, a quarter of all places: retry when some are \
         answered"
    )]
    User(u64),
    /// Seven eighths of [`QueueLimits::per_reader`] are taken. The rest is reserved for users with few waiting
    /// requests.
    #[error("the last places of the reader's queue are for users with at most {0} waiting requests: retry later")]
    Reserved(u64),
    /// All [`QueueLimits::per_reader`] places are taken.
    #[error("{0} requests already wait for the reader, the most allowed: retry later")]
    Reader(usize),
}

/// The places of one reader's queue.
#[derive(Debug)]
pub struct QueuePlaces<U> {
    limits: QueueLimits,
    places: Places<U>,
}

impl<U: Id> QueuePlaces<U> {
    /// Creates a queue without requests.
    pub fn new(limits: QueueLimits) -> Self {
        Self { limits, places: Places::new(limits.per_reader as u64) }
    }

    /// Takes a place for one more request of `user`. `of_caller` is the number of waiting requests of its caller.
    ///
    /// # Errors
    /// The limit that the request would exceed. The caller's limit is checked first.
    pub fn take(&mut self, user: U, of_caller: usize) -> Result<(), Full> {
        if of_caller >= self.limits.per_caller {
            return Err(Full::Caller(self.limits.per_caller));
        }
        self.places.take(user, 1).map_err(|refused| match refused {
            Refused::UserLimit => Full::User(self.places.per_user()),
            Refused::Reserved => Full::Reserved(self.places.small_user_limit()),
            Refused::Full => Full::Reader(self.limits.per_reader),
        })
    }

    /// Gives back the place of a request of `user` that no longer waits.
    pub fn give_back(&mut self, user: U) {
        self.places.give_back(user, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_named_the_callers_first() {
        let mut queue = QueuePlaces::new(QueueLimits { per_caller: 2, per_reader: 16 });
        assert_eq!([0; 5].map(|of_caller| queue.take('a', of_caller)).last(), Some(&Err(Full::User(4))));
        assert_eq!(queue.take('a', 2), Err(Full::Caller(2)));
        for user in ['b', 'b', 'b', 'b', 'c', 'c', 'c', 'c', 'd', 'd'] {
            queue.take(user, 0).unwrap();
        }
        assert_eq!(queue.take('d', 0), Err(Full::Reserved(1)));
        assert_eq!(['e', 'f', 'g'].map(|user| queue.take(user, 0)), [Ok(()), Ok(()), Err(Full::Reader(16))]);
        queue.give_back('a');
        assert_eq!(queue.take('g', 0), Ok(()));
    }
}
