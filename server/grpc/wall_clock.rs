//! Moments as times of the system's clock, so that one moment has the same time in every message.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use prost_types::Timestamp;

/// The deviation of the system's clock from which it counts as set to another time.
const TOLERANCE: Duration = Duration::from_millis(5);

/// A moment and its time by the system's clock, from which all other times are computed.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    moment: Instant,
    time: SystemTime,
}

/// The anchor of this process; `None` before the first time.
static ANCHOR: Mutex<Option<Anchor>> = Mutex::new(None);

/// Returns a moment as a time of the system's clock.
pub(super) fn timestamp(moment: Instant) -> Timestamp {
    let now = Anchor { moment: Instant::now(), time: SystemTime::now() };
    let mut anchor = ANCHOR.lock().unwrap_or_else(PoisonError::into_inner);
    let current = anchor.filter(|anchor| anchor.agrees(now)).unwrap_or(now);
    *anchor = Some(current);
    current.time_of(moment).unwrap_or(SystemTime::UNIX_EPOCH).into()
}

impl Anchor {
    /// The time of another moment.
    fn time_of(self, moment: Instant) -> Option<SystemTime> {
        match moment.checked_duration_since(self.moment) {
            Some(ahead) => self.time.checked_add(ahead),
            None => self.time.checked_sub(self.moment.duration_since(moment)),
        }
    }

    /// Whether the system's clock still runs as it did: `now` has about the time that this anchor gives it.
    fn agrees(self, now: Self) -> bool {
        let expected = self.time_of(now.moment).unwrap_or(SystemTime::UNIX_EPOCH);
        let deviation = now.time.duration_since(expected).unwrap_or_else(|error| error.duration());
        deviation <= TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_the_same_time_in_every_message() {
        let moment = Instant::now() - Duration::from_secs(7);
        let first = timestamp(moment);
        assert!((0..1_000).all(|_| timestamp(moment) == first));
        let ago = SystemTime::now().duration_since(SystemTime::try_from(first).unwrap()).unwrap();
        assert!((Duration::from_secs(6)..Duration::from_secs(8)).contains(&ago), "{ago:?}");
    }

    #[test]
    fn times_follow_a_clock_that_was_set() {
        let (moment, time) = (Instant::now(), SystemTime::now());
        let anchor = Anchor { moment, time };
        let later = |shift: Duration| Anchor {
            moment: moment + Duration::from_secs(60),
            time: time + Duration::from_secs(60) + shift,
        };
        assert!(anchor.agrees(later(Duration::ZERO)) && anchor.agrees(later(TOLERANCE)));
        assert!(!anchor.agrees(later(Duration::from_secs(1))));
        assert_eq!(anchor.time_of(moment - Duration::from_secs(1)), Some(time - Duration::from_secs(1)));
    }
}
