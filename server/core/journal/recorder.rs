//! The flight recorder of a reader: its last events, without data, until the card is removed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Event, EventKind, event::TraceKind};

/// The number of events that a reader keeps.
pub const CAPACITY: usize = 256;

/// How long events are kept unless the configuration says otherwise.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// How much later than its time an event is forgotten, so that events in a row are forgotten together. They are not
/// returned in the meantime.
const SLACK: Duration = Duration::from_secs(60);

/// An event that was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The number of the event at its reader.
    pub number: u64,
    /// The event, without bytes of commands.
    pub event: Event,
}

/// The last events of a reader. Its memory is allocated at once.
#[derive(Debug)]
pub struct Recorder {
    /// How long events are kept; `None` if nothing is recorded.
    lifetime: Option<Duration>,
    /// The events, from the oldest one; at most [`CAPACITY`].
    ring: VecDeque<Recorded>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new(Some(LIFETIME))
    }
}

impl Recorder {
    /// Creates a recorder that keeps events for `lifetime`, or none.
    pub fn new(lifetime: Option<Duration>) -> Self {
        let ring = VecDeque::with_capacity(if lifetime.is_some() { CAPACITY } else { 0 });
        Self { lifetime, ring }
    }

    /// Records an event that traces show. The removal of the card empties the recorder.
    pub(super) fn record(&mut self, number: u64, event: &Event) {
        let Some(lifetime) = self.lifetime else { return };
        if matches!(event.kind, EventKind::Removed) {
            return self.ring.clear();
        }
        // A user who is refused again and again must not push out the others' events.
        if matches!(event.trace_kind(), None | Some(TraceKind::Denial | TraceKind::NotServed)) {
            return;
        }
        let is_old = |first: &Recorded| event.at.saturating_duration_since(first.event.at) > lifetime;
        while self.ring.len() >= CAPACITY || self.ring.front().is_some_and(is_old) {
            self.ring.pop_front();
        }
        self.ring.push_back(Recorded { number, event: event.without_data() });
    }

    /// When the oldest event is forgotten; `None` without events.
    pub fn expiry(&self) -> Option<Instant> {
        let (first, lifetime) = (self.ring.front()?, self.lifetime?);
        Some(first.event.at + lifetime + SLACK)
    }

    /// Forgets the events that are too old.
    pub(super) fn expire(&mut self, now: Instant) {
        if let Some(lifetime) = self.lifetime {
            self.ring.retain(|recorded| now.saturating_duration_since(recorded.event.at) <= lifetime);
        }
    }

    /// The events that began at `since` or later and are not too old, from the oldest one.
    pub fn events(&self, since: Option<Instant>, now: Instant) -> impl DoubleEndedIterator<Item = &Recorded> {
        let lifetime = self.lifetime.unwrap_or_default();
        self.ring.iter().filter(move |recorded| {
            let at = recorded.event.at;
            since.is_none_or(|since| at >= since) && now.saturating_duration_since(at) <= lifetime
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prop_assert, prop_assert_eq, test_runner::TestCaseResult};

    use super::*;
    use crate::{
        journal::{CommandFacts, ExchangeMask, Sent},
        properties::{holds, is_broken},
        slot::ResetKind,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn reset(at: Instant) -> Event {
        let kind = EventKind::Reset { kind: ResetKind::Warm, answered: true, took: Duration::ZERO };
        Event { at, origin: None, lease: None, kind }
    }

    fn numbers(recorder: &Recorder, since: Option<Instant>, now: Instant) -> Vec<u64> {
        recorder.events(since, now).map(|recorded| recorded.number).collect()
    }

    #[test]
    fn removal_empties_the_recorder_and_off_records_nothing() {
        let start = Instant::now();
        let removed = Event { kind: EventKind::Removed, ..reset(start) };
        let (mut recorder, mut off) = (Recorder::default(), Recorder::new(None));
        for number in 1..=2 {
            recorder.record(number, &reset(start));
            off.record(number, &reset(start));
        }
        assert_eq!((numbers(&recorder, None, start), numbers(&off, None, start)), (vec![1, 2], vec![]));
        recorder.record(3, &removed);
        assert!(recorder.ring.is_empty());
    }

    #[test]
    fn the_recorder_has_no_data() {
        let start = Instant::now();
        let sent = Sent {
            index: 1,
            is_continuation: false,
            command: &[0x00, 0xB0, 0x00, 0x00, 0x02],
            response: Some(&[1, 2, 0x90, 0x00]),
            took: SECOND,
        };
        let facts = CommandFacts::of(sent, &mut ExchangeMask::default(), true);
        assert!(facts.data.is_some());
        let mut recorder = Recorder::default();
        recorder.record(1, &Event { kind: EventKind::Command(facts), ..reset(start) });
        let kept = recorder.events(None, start).next().unwrap();
        assert!(matches!(&kept.event.kind, EventKind::Command(command) if command.data.is_none()));
    }

    /// Checks that the recorder holds the last events that are young enough; `forgets` plants a fault.
    fn play(pauses: Vec<u32>, lifetime: u32, since: usize, forgets: bool) -> TestCaseResult {
        let lifetime = SECOND * lifetime;
        let (mut recorder, mut now, mut all) = (Recorder::new(Some(lifetime)), Instant::now(), Vec::new());
        let allocated = recorder.ring.capacity();
        for (index, pause) in pauses.into_iter().enumerate() {
            now += SECOND * pause;
            let number = index as u64 + 1;
            if !(forgets && number.is_multiple_of(7)) {
                recorder.record(number, &reset(now));
            }
            all.push((number, now));
            let begin = all.get(since).map(|(_, at)| *at);
            let last = all.iter().rev().take(CAPACITY).rev();
            let wanted = last.filter(|(_, at)| now - *at <= lifetime && begin.is_none_or(|begin| *at >= begin));
            let wanted: Vec<_> = wanted.map(|(number, _)| *number).collect();
            prop_assert_eq!(numbers(&recorder, begin, now), wanted, "the last events are kept");
            prop_assert!(recorder.ring.len() <= CAPACITY && recorder.ring.capacity() == allocated);
        }
        recorder.expire(now + lifetime + SECOND);
        prop_assert!(recorder.ring.is_empty() && recorder.expiry().is_none(), "old events are forgotten");
        Ok(())
    }

    #[test]
    fn the_last_events_are_kept_for_their_time() {
        let histories = || (vec(0_u32..3, 1..600), 1_u32..400, 0_usize..600);
        holds(100, histories(), |(pauses, lifetime, since)| play(pauses, lifetime, since, false));
        let broken = |(pauses, lifetime, since)| play(pauses, lifetime, since, true);
        is_broken(100, histories(), broken, "forgets", "the last events are kept");
    }
}
