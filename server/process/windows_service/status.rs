//! The state of the service as the service control manager knows it: which state follows from which event, and how far
//! a start or a stop has come. Pure.

use std::time::Duration;

/// The time that a start may take before the manager takes the service for hung.
const START_TIME: Duration = Duration::from_secs(30);

/// The time that a stop asks for at its beginning. The daemon asks for more while it drains.
const STOP_TIME: Duration = Duration::from_secs(15);

/// A phase in the life of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The process has begun, and does not serve yet.
    Starting,
    /// Requests are accepted. Only now the manager may ask for a stop or a reload.
    Running,
    /// The daemon drains and accepts no new work.
    Stopping,
    /// The process ends, with this exit code of the daemon.
    Stopped(u8),
}

/// An event that changes the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Event {
    /// The daemon accepts requests, for the first time or again.
    Ready,
    /// The manager has asked for a stop, or the daemon stops by itself.
    Stopping,
    /// The daemon goes on with its start or its stop, and needs this time from now.
    NeedsTime(Duration),
    /// The daemon has ended, with this exit code.
    Ended(u8),
}

/// A state in the terms of the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) phase: Phase,
    /// Grows during a start or a stop; 0 at other times.
    pub(super) checkpoint: u32,
    /// The longest time to the next checkpoint; 0 outside of a start or a stop.
    pub(super) wait_hint: Duration,
}

impl Status {
    /// The state at the beginning.
    pub(super) const STARTING: Self = Self { phase: Phase::Starting, checkpoint: 1, wait_hint: START_TIME };

    /// The state after an event; `None` if it stays as it is. A service that stops never runs again.
    pub(super) fn after(self, event: Event) -> Option<Self> {
        let settled = |phase| Self { phase, checkpoint: 0, wait_hint: Duration::ZERO };
        match (self.phase, event) {
            (Phase::Stopped(_), _) => None,
            (_, Event::Ended(exit)) => Some(settled(Phase::Stopped(exit))),
            (Phase::Starting, Event::Ready) => Some(settled(Phase::Running)),
            (Phase::Starting | Phase::Running, Event::Stopping) => {
                Some(Self { phase: Phase::Stopping, checkpoint: 1, wait_hint: STOP_TIME })
            }
            (Phase::Starting | Phase::Stopping, Event::NeedsTime(time)) => {
                Some(Self { checkpoint: self.checkpoint.saturating_add(1), wait_hint: time, ..self })
            }
            (Phase::Running | Phase::Stopping, Event::Ready)
            | (Phase::Stopping, Event::Stopping)
            | (Phase::Running, Event::NeedsTime(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE: Event = Event::NeedsTime(Duration::from_secs(15));

    /// The phases and checkpoints after each of these events.
    fn told(events: &[Event]) -> Vec<(Phase, u32)> {
        let mut status = Status::STARTING;
        let mut told = vec![(status.phase, status.checkpoint)];
        for event in events {
            if let Some(next) = status.after(*event) {
                status = next;
                told.push((status.phase, status.checkpoint));
            }
        }
        told
    }

    #[test]
    fn a_stop_shows_its_progress_until_its_end() {
        let events = [Event::Ready, Event::Stopping, MORE, MORE, Event::Ended(0)];
        let expected = [
            (Phase::Starting, 1),
            (Phase::Running, 0),
            (Phase::Stopping, 1),
            (Phase::Stopping, 2),
            (Phase::Stopping, 3),
            (Phase::Stopped(0), 0),
        ];
        assert_eq!(told(&events), expected);
    }

    #[test]
    fn a_late_word_brings_no_stopping_service_back() {
        let events =
            [Event::Ready, MORE, Event::Stopping, Event::Ready, Event::Stopping, Event::Ended(6), Event::Ready];
        let expected = [(Phase::Starting, 1), (Phase::Running, 0), (Phase::Stopping, 1), (Phase::Stopped(6), 0)];
        assert_eq!(told(&events), expected);
    }

    #[test]
    fn a_start_that_fails_ends_at_once() {
        assert_eq!(told(&[Event::Ended(3), MORE]), [(Phase::Starting, 1), (Phase::Stopped(3), 0)]);
    }

    #[test]
    fn only_a_start_and_a_stop_have_a_time() {
        let running = Status::STARTING.after(Event::Ready).unwrap();
        assert_eq!(running.wait_hint, Duration::ZERO);
        let stopping = running.after(Event::Stopping).unwrap();
        assert_eq!(stopping.wait_hint, STOP_TIME);
        let later = stopping.after(Event::NeedsTime(Duration::from_secs(7))).unwrap();
        assert_eq!(later.wait_hint, Duration::from_secs(7));
    }
}
