//! The journal by its events.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{caller::Caller, error::Reason, policy::rule::Operation, user::example_account};

fn event(kind: EventKind) -> Event {
    Event { at: Instant::now(), origin: None, lease: None, kind }
}

fn by(uid: u32, kind: EventKind) -> Event {
    let caller = Caller::local(1, example_account(uid), None, None);
    let origin = Origin { caller, group: None, traceparent: None };
    Event { origin: Some(Arc::new(origin)), ..event(kind) }
}

fn began() -> EventKind {
    EventKind::TurnBegan { is_session: false, commands: 2, waited: Duration::from_millis(7) }
}

fn command(is_continuation: bool, response: Option<&[u8]>) -> EventKind {
    let took = Duration::from_millis(3);
    let sent = Sent { index: 1, is_continuation, command: &[0, 0xA4, 4, 0], response, took };
    EventKind::Command(CommandFacts::of(sent, &mut ExchangeMask::default(), false))
}

fn denied() -> EventKind {
    EventKind::Denied { operation: Operation::Transmit, rule: "desk".into() }
}

#[test]
fn progress_and_counters_follow_the_commands_of_the_turn() {
    let mut journal = Journal::default();
    journal.record(&event(began()));
    journal.on_command(CommandClass::Select);
    assert_eq!(journal.progress(), Progress { done: 0, last: Some((CommandClass::Select, None)) });
    journal.record(&event(command(false, Some(&[0x61, 0x10]))));
    journal.record(&event(command(true, Some(&[0x90, 0x00]))));
    assert_eq!(journal.record(&event(command(false, None))), 4);
    let last = Some((CommandClass::Select, Some(CommandEnd::Failed)));
    assert_eq!(journal.progress(), Progress { done: 1, last });
    let counters = journal.counters();
    assert_eq!((counters.units, counters.commands, counters.failed_commands), (1, 3, 1));
    assert_eq!((counters.card_times.sum().as_millis(), counters.wait_times.sum().as_millis()), (9, 7));
    journal.record(&event(began()));
    assert_eq!(journal.progress(), Progress::default());
}

#[test]
fn repeated_incidents_are_counted_and_do_not_push_out_others() {
    let mut journal = Journal::default();
    journal.incident(IncidentKind::Driver, "a call does not return", Instant::now());
    for _ in 0..100 {
        journal.record(&by(7, denied()));
        journal.record(&by(8, denied()));
    }
    let kinds: Vec<_> = journal.incidents().map(|incident| (incident.kind, incident.count)).collect();
    assert_eq!(kinds, [(IncidentKind::Denied, 100), (IncidentKind::Denied, 100), (IncidentKind::Driver, 1)]);
    assert_eq!(journal.counters().denied, 200);
}

#[test]
fn the_last_sixteen_incidents_are_kept() {
    let mut journal = Journal::default();
    for number in 0..20 {
        journal.incident(IncidentKind::Reader, &format!("{number}{}", "ä".repeat(300)), Instant::now());
    }
    let incidents: Vec<_> = journal.incidents().collect();
    assert_eq!(incidents.len(), MAX_INCIDENTS);
    assert!(incidents[0].message.starts_with("19") && incidents[0].message.len() <= 256);
}

#[test]
fn a_status_word_that_stops_a_unit_is_no_incident() {
    let mut journal = Journal::default();
    let ended = |reason| EventKind::TurnEnded { end: TurnEnd::Failed(reason), held: Duration::ZERO };
    journal.record(&event(ended(Reason::StatusWord)));
    journal.record(&event(EventKind::NotServed { reason: None }));
    assert_eq!(journal.incidents().count(), 0);
    journal.record(&event(ended(Reason::CardRemoved)));
    assert_eq!(journal.incidents().next().unwrap().reason, Some(Reason::CardRemoved));
}
