//! How many requests may wait at one reader.

/// The limits of a reader's waiting requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one caller.
    pub per_caller: usize,
    /// Of all callers together.
    pub per_reader: usize,
}

/// Which limit a further request would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// [`Limits::per_caller`].
    #[error(
        "this caller already has {0} requests waiting for the reader, the most allowed: retry when some are answered"
    )]
    Caller(usize),
    /// [`Limits::per_reader`].
    #[error("{0} requests already wait for the reader, the most allowed: retry later")]
    Reader(usize),
}

impl Limits {
    /// Whether one more request may wait while the caller has `of_caller` and all callers together have `all`.
    ///
    /// # Errors
    /// The limit that it would break, the reader's first.
    pub fn admit(&self, of_caller: usize, all: usize) -> Result<(), Full> {
        if all >= self.per_reader {
            return Err(Full::Reader(self.per_reader));
        }
        if of_caller >= self.per_caller {
            return Err(Full::Caller(self.per_caller));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_the_readers_is_named_first() {
        let limits = Limits { per_caller: 2, per_reader: 3 };
        assert_eq!([limits.admit(0, 0), limits.admit(1, 2)], [Ok(()); 2]);
        assert_eq!(limits.admit(2, 2), Err(Full::Caller(2)));
        assert_eq!([limits.admit(0, 3), limits.admit(2, 3)], [Err(Full::Reader(3)); 2]);
    }
}
