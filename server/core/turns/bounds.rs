//! The maximum time of a turn while callers of other groups wait. It does not apply while only its own group waits; the
//! door of PC/SC programs has a limit for that.
//!
//! The waiting users share 20 s from the arrival of the first of their requests: with each turn less of it is left, and
//! fewer users wait. So all of them have their turns within it, however many they are, as long as no bound is at its
//! minimum. Without the time that has passed, the last of ten users would wait for 20 s / 9 + 20 s / 8 + … = 46 s.

use std::time::{Duration, Instant};

use crate::turns::request::Kind;

/// The minimum of a bound, for any number of waiting users. A shorter configured bound takes precedence.
pub const MIN_BOUND: Duration = Duration::from_secs(2);
/// The time that the waiting users share: always for units, by default for leases.
pub const SHARED: Duration = Duration::from_secs(20);
/// The maximum delay of a unit's stop inside a command chain, or between 61xx and its GET RESPONSE.
pub const MAX_OPEN_PAIR: Duration = Duration::from_secs(10);

/// The bounds from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The maximum time of a unit: `limits.max_contended_unit`, 1 s – 1 h.
    pub max_contended_unit: Duration,
    /// The maximum time of a lease: `limits.max_contended_lease`, 1 s – 1 h.
    pub max_contended_lease: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_contended_unit: Duration::from_secs(10), max_contended_lease: SHARED }
    }
}

impl Bounds {
    /// The maximum time of a unit while `users` users wait, the first of them for `waited` already: what is left of
    /// 20 s, divided by `users`, from 2 s to `max_contended_unit`.
    pub fn unit(&self, users: usize, waited: Duration) -> Duration {
        part(SHARED, users, waited).max(MIN_BOUND).min(self.max_contended_unit)
    }

    /// The maximum time of a lease, as [`Self::unit`]: what is left of `max_contended_lease`, divided by `users`, at
    /// least 2 s.
    pub fn lease(&self, users: usize, waited: Duration) -> Duration {
        part(self.max_contended_lease, users, waited).max(MIN_BOUND).min(self.max_contended_lease)
    }

    /// The maximum time of a turn of `kind`, as [`Self::unit`].
    pub fn turn(&self, kind: Kind, users: usize, waited: Duration) -> Duration {
        match kind {
            Kind::Unit | Kind::Command => self.unit(users, waited),
            Kind::Session => self.lease(users, waited),
        }
    }
}

fn part(of: Duration, users: usize, waited: Duration) -> Duration {
    of.saturating_sub(waited) / u32::try_from(users.max(1)).unwrap_or(u32::MAX)
}

/// Returns whether a unit stops before its next command, given that the actor requested the stop at `requested`. The
/// unit stops at once, but inside an open pair only after [`MAX_OPEN_PAIR`]. An open pair is an unfinished command
/// chain, or an answer 61xx or 9Fxx before its GET RESPONSE.
pub fn stops(requested: Instant, now: Instant, is_pair_open: bool) -> bool {
    !is_pair_open || now.saturating_duration_since(requested) >= MAX_OPEN_PAIR
}

/// The callers of other groups that wait during a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contention {
    /// The time from which at least one of them has waited.
    pub since: Instant,
    /// The number of users with such callers. Includes the holder's user if one of its own callers is among them.
    pub users: usize,
    /// The arrival of the oldest of their requests.
    pub oldest: Instant,
}

impl Contention {
    /// The time at which a turn that began at `began` reaches its bound.
    pub fn end(&self, began: Instant, kind: Kind, bounds: &Bounds) -> Instant {
        let from = self.since.max(began);
        from + bounds.turn(kind, self.users, from.saturating_duration_since(self.oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn bounds_shrink_with_the_number_of_waiting_users() {
        let bounds = Bounds::default();
        for (users, unit, lease) in [(0, 10, 20), (1, 10, 20), (2, 10, 10), (4, 5, 5), (10, 2, 2), (100, 2, 2)] {
            let now = Duration::ZERO;
            assert_eq!((bounds.unit(users, now), bounds.lease(users, now)), (unit * SECOND, lease * SECOND), "{users}");
        }
        let strict = Bounds { max_contended_unit: SECOND, max_contended_lease: 60 * SECOND };
        assert_eq!([1, 9].map(|users| strict.unit(users, Duration::ZERO)), [SECOND; 2]);
        let leases = [1, 4, 60].map(|users| strict.lease(users, Duration::ZERO));
        assert_eq!(leases, [60 * SECOND, 15 * SECOND, 2 * SECOND]);
    }

    #[test]
    fn bounds_shrink_with_the_time_that_the_first_user_has_waited() {
        let bounds = Bounds::default();
        let units =
            [(2, 0), (2, 4), (2, 18), (1, 12), (1, 99)].map(|(users, waited)| bounds.unit(users, waited * SECOND));
        assert_eq!(units, [10, 8, 2, 8, 2].map(|seconds| seconds * SECOND));
        assert_eq!(bounds.lease(1, 12 * SECOND), 8 * SECOND);
    }

    #[test]
    fn a_unit_stops_between_commands_and_inside_a_pair_ten_seconds_later() {
        let told = Instant::now();
        assert!(stops(told, told, false) && !stops(told, told + 9 * SECOND, true));
        assert!(stops(told, told + 10 * SECOND, true));
    }
}
