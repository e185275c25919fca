//! How many health checks without a token are answered: to one connection, and to all clients.
//!
//! A connection's first check and its further ones have room of their own, so that connections with many checks do not
//! keep a probe from its only one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Maximum checks of one connection in a second.
const CHECKS_PER_CONNECTION: usize = 10;

/// Maximum first checks, and maximum further checks, of all connections in a second.
const CHECKS: usize = 50;

const TIME: Duration = Duration::from_secs(1);

/// The checks of all connections. Clones share the room.
#[derive(Debug, Clone, Default)]
pub struct CheckRoom(Arc<Mutex<Room>>);

#[derive(Debug, Default)]
struct Room {
    first: Times,
    further: Times,
}

/// The checks of one connection. Clones belong to the same connection.
#[derive(Debug, Clone, Default)]
pub struct ConnectionChecks(Arc<Mutex<Times>>);

/// The times of the answered checks of the last second, the oldest first.
#[derive(Debug, Default)]
struct Times {
    times: VecDeque<Instant>,
    /// Whether there was ever one.
    has_any: bool,
}

impl Times {
    /// Whether fewer than `limit` checks were answered in the last second.
    fn has_room(&mut self, limit: usize, now: Instant) -> bool {
        self.times.retain(|time| *time + TIME > now);
        self.times.len() < limit
    }

    fn add(&mut self, now: Instant) {
        self.times.push_back(now);
        self.has_any = true;
    }
}

impl CheckRoom {
    /// Counts a check of a connection; `false` if it is one too many and is not answered.
    pub fn take(&self, connection: &ConnectionChecks, now: Instant) -> bool {
        // A panic elsewhere leaves both whole.
        let mut own = connection.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = if own.has_any { &mut room.further } else { &mut room.first };
        let has_room = own.has_room(CHECKS_PER_CONNECTION, now) && all.has_room(CHECKS, now);
        if has_room {
            own.add(now);
            all.add(now);
        }
        has_room
    }
}

impl ConnectionChecks {
    /// Whether a check was ever answered.
    pub fn has_any(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).has_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these checks are answered, one each millisecond.
    fn answered(room: &CheckRoom, connection: &ConnectionChecks, begin: Instant, count: u64) -> usize {
        (0..count).filter(|step| room.take(connection, begin + Duration::from_millis(*step))).count()
    }

    #[test]
    fn ten_checks_of_a_connection_are_answered_in_any_second() {
        let (room, connection, begin) = (CheckRoom::default(), ConnectionChecks::default(), Instant::now());
        let at = |millis: u64| begin + Duration::from_millis(millis);
        assert!(!connection.has_any());
        assert_eq!((0..12).filter(|step| room.take(&connection, at(50 * step))).count(), 10);
        assert!(!room.take(&connection, at(999)) && room.take(&connection, at(1_000)));
        assert!(!room.take(&connection, at(1_049)) && connection.has_any());
        assert_eq!(answered(&room, &connection, at(10_000), 10_000), 100);
        assert!(connection.0.lock().unwrap().times.len() <= CHECKS_PER_CONNECTION);
    }

    #[test]
    fn connections_with_many_checks_leave_room_for_others() {
        let (room, begin) = (CheckRoom::default(), Instant::now());
        let one = ConnectionChecks::default();
        assert_eq!(answered(&room, &one, begin, 900), 10);
        assert_eq!(answered(&room, &ConnectionChecks::default(), begin, 900), 10, "another connection has its own");
        // Many of them take all the room for further checks, and nothing of that for first ones.
        let busy: Vec<_> = (0..20).map(|_| ConnectionChecks::default()).collect();
        let total: usize = busy.iter().map(|busy| answered(&room, busy, begin, 900)).sum();
        assert_eq!(total, 20 + CHECKS - 18, "20 first ones, and the rest of the further ones");
        let probes = (0..100).map(|_| ConnectionChecks::default());
        assert_eq!(probes.filter(|probe| room.take(probe, begin)).count(), CHECKS - 22);
        assert!(room.0.lock().unwrap().first.times.len() <= CHECKS);
    }
}
