//! The maximum time of a turn while callers of other groups wait. A turn is unbounded while only its own group waits.

use std::time::{Duration, Instant};

use crate::turns::request::Kind;

/// The minimum of a bound, for any number of waiting users. A shorter configured bound takes precedence.
pub const MIN_BOUND: Duration = Duration::from_secs(2);
/// The time that is divided by the number of waiting users: always for units, by default for leases.
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
    /// The maximum time of a unit while `users` users wait: 20 s / `users`, from 2 s to `max_contended_unit`.
    pub fn unit(&self, users: usize) -> Duration {
        part(SHARED, users).max(MIN_BOUND).min(self.max_contended_unit)
    }

    /// The maximum time of a lease while `users` users wait: `max_contended_lease` / `users`, at least 2 s.
    pub fn lease(&self, users: usize) -> Duration {
        part(self.max_contended_lease, users).max(MIN_BOUND).min(self.max_contended_lease)
    }

    /// The maximum time of a turn of `kind` while `users` users wait.
    pub fn turn(&self, kind: Kind, users: usize) -> Duration {
        match kind {
            Kind::Unit | Kind::Command => self.unit(users),
            Kind::Session => self.lease(users),
        }
    }
}

fn part(of: Duration, users: usize) -> Duration {
    of / u32::try_from(users.max(1)).unwrap_or(u32::MAX)
}

/// Returns whether a unit stops before its next command, given that the actor requested the stop at `told`. The unit
/// stops at once, but inside an open pair only after [`MAX_OPEN_PAIR`]. An open pair is an unfinished command chain, or
/// an answer 61xx or 9Fxx before its GET RESPONSE.
pub fn stops(told: Instant, now: Instant, is_pair_open: bool) -> bool {
    !is_pair_open || now.saturating_duration_since(told) >= MAX_OPEN_PAIR
}

/// The callers of other groups that wait during a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contention {
    /// The time from which at least one of them has waited.
    pub since: Instant,
    /// The number of users with such callers. Includes the holder's user if one of its own callers is among them.
    pub users: usize,
}

impl Contention {
    /// The time at which a turn that began at `began` reaches its bound.
    pub fn end(&self, began: Instant, kind: Kind, bounds: &Bounds) -> Instant {
        self.since.max(began) + bounds.turn(kind, self.users)
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
            assert_eq!((bounds.unit(users), bounds.lease(users)), (unit * SECOND, lease * SECOND), "{users} users");
        }
        let strict = Bounds { max_contended_unit: SECOND, max_contended_lease: 60 * SECOND };
        assert_eq!((strict.unit(1), strict.unit(9)), (SECOND, SECOND));
        assert_eq!((strict.lease(1), strict.lease(4), strict.lease(60)), (60 * SECOND, 15 * SECOND, 2 * SECOND));
    }

    #[test]
    fn default_waits_outlast_default_bounds_for_up_to_ten_users() {
        let (bounds, default_wait) = (Bounds::default(), 30 * SECOND);
        let reset = Duration::from_millis(400);
        for users in 1..=10 {
            // A holder, and all but the last of the waiting users before it.
            let turn = |waiting| reset + bounds.lease(waiting).max(Duration::from_millis(500) + bounds.unit(waiting));
            let worst: Duration = (1..=users).map(|_| turn(users)).sum();
            assert!(worst < default_wait, "{users} users: {worst:?}");
        }
    }

    #[test]
    fn a_unit_stops_between_commands_and_inside_a_pair_ten_seconds_later() {
        let told = Instant::now();
        assert!(stops(told, told, false) && !stops(told, told + 9 * SECOND, true));
        assert!(stops(told, told + 10 * SECOND, true));
    }
}
