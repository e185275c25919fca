//! Tests of the ends of tickets, by any of their owners.

use std::time::Duration;

use cardbroker_core::{
    apdu::StatusWord,
    card::unit::StatusWordSource,
    error::{Delivery, Reason},
    turns::turn::CardRequirement,
};

use super::*;

fn terms() -> TurnRequest {
    TurnRequest {
        reset_before: None,
        if_insertion_id: None,
        if_state_tag: None,
        if_not_raised: false,
        wait_timeout: Duration::from_secs(1),
        card: CardRequirement::Required,
    }
}

fn ticket() -> (Ticket, Answers) {
    let access = crate::policy::access::unlimited(cardbroker_core::caller::CallerKey::Connection(1));
    Ticket::new(Vec::new(), Some(terms()), access, Instant::now())
}

fn turn() -> Turn {
    Turn { insertion_id: "i".into(), state_tag: "t".into(), began: Instant::now(), reset: false }
}

fn result() -> CommandResult {
    CommandResult {
        data: Default::default(),
        status_word: StatusWord(0x9000),
        source: StatusWordSource::Command,
        get_response_count: 0,
        card_duration: Duration::ZERO,
    }
}

fn lost() -> Failure {
    Failure::unknown(Reason::CardRemoved, "gone")
}

#[test]
fn a_failure_before_the_first_answer_is_an_error() {
    let (ticket, mut answers) = ticket();
    assert!(ticket.begin(turn()));
    ticket.end(Some(lost()), Instant::now());
    assert_eq!(answers.first.try_recv().unwrap(), Err(lost()));
}

#[test]
fn responses_survive_a_later_failure() {
    let (ticket, mut answers) = ticket();
    ticket.begin(turn());
    ticket.push(result());
    ticket.push(result());
    ticket.end(Some(lost()), Instant::now());
    let outcome = answers.first.try_recv().unwrap().unwrap();
    assert_eq!(outcome.results.len(), 2);
    assert_eq!(outcome.stopped, Some(Stop { index: 2, failure: lost() }));
}

#[test]
fn a_partial_response_belongs_to_the_command_that_stopped() {
    let (ticket, mut answers) = ticket();
    ticket.begin(turn());
    ticket.push(result());
    ticket.push_partial(result());
    ticket.end(Some(lost()), Instant::now());
    let outcome = answers.first.try_recv().unwrap().unwrap();
    assert_eq!((outcome.results.len(), outcome.stopped.unwrap().index), (2, 1));
}

#[test]
fn a_partially_answered_command_has_run() {
    let (ticket, mut answers) = ticket();
    ticket.begin(turn());
    ticket.push_partial(result());
    ticket.end(Some(Failure::not_sent(Reason::CardRemoved, "gone")), Instant::now());
    let stop = answers.first.try_recv().unwrap().unwrap().stopped.unwrap();
    assert_eq!((stop.index, stop.failure.delivery), (0, Delivery::Executed));
}

#[test]
fn the_first_end_counts() {
    let (ticket, mut answers) = ticket();
    ticket.begin(turn());
    ticket.end(Some(lost()), Instant::now());
    ticket.push(result());
    ticket.end(None, Instant::now());
    assert_eq!(answers.first.try_recv().unwrap(), Err(lost()));
}

#[test]
fn an_outcome_after_an_early_end_is_known_later() {
    let (ticket, mut answers) = ticket();
    ticket.begin(turn());
    ticket.end_early(lost(), Instant::now());
    assert_eq!(answers.first.try_recv().unwrap(), Err(lost()));
    ticket.push(result());
    ticket.end(None, Instant::now());
    assert_eq!(answers.late.try_recv().unwrap().unwrap().results.len(), 1);
}

#[test]
fn an_ended_or_abandoned_ticket_gets_no_turn() {
    let (ended, _answers) = ticket();
    assert!(ended.end_waiting(Failure::not_sent(Reason::QueueTimeout, "late")));
    assert!(!ended.begin(turn()));

    let (left, answers) = ticket();
    drop(answers);
    assert!(!left.begin(turn()));
}

#[test]
fn a_running_ticket_no_longer_waits() {
    let (ticket, mut answers) = ticket();
    ticket.begin(turn());
    assert!(!ticket.end_waiting(Failure::not_sent(Reason::QueueTimeout, "late")));
    ticket.push(result());
    ticket.end(None, Instant::now());
    let outcome = answers.first.try_recv().unwrap().unwrap();
    assert_eq!((outcome.stopped, outcome.results.len()), (None, 1));
    assert_eq!(Delivery::NotSent.as_str(), "not_sent");
}

/// The card when the turn comes.
const CARD: CardNow<'_> = CardNow { insertion_id: "i2", state_tag: "s2", is_raised: true };

#[test]
fn a_repeat_adds_its_conditions_until_the_turn_comes() {
    let terms = |insertion: &str, tag: &str| TurnRequest {
        if_insertion_id: Some(insertion.to_owned()).filter(|id| !id.is_empty()),
        if_state_tag: Some(tag.to_owned()).filter(|tag| !tag.is_empty()),
        ..terms()
    };
    let joined = |repeats: &[(&str, &str)]| {
        let (ticket, _answers) = ticket();
        for (insertion, tag) in repeats {
            ticket.join(&terms(insertion, tag)).unwrap();
        }
        ticket
    };
    let reason = |ticket: Ticket| ticket.broken_condition(CARD).map(|failure| failure.reason);
    assert_eq!(reason(joined(&[("", "")])), None);
    assert_eq!(reason(joined(&[("i2", ""), ("", "s2"), ("i2", "s2")])), None);
    assert_eq!(reason(joined(&[("", ""), ("i1", "")])), Some(Reason::InsertionChanged));
    assert_eq!(reason(joined(&[("", "s1"), ("i2", "")])), Some(Reason::StateChanged));
    let ticket = joined(&[("i2", "")]);
    ticket.join(&TurnRequest { if_not_raised: true, ..terms("", "") }).unwrap();
    assert_eq!(reason(ticket), Some(Reason::StateChanged));

    let ticket = joined(&[("i2", "")]);
    for contradiction in [("i1", "s1"), ("i1", "")] {
        let refused = ticket.join(&terms(contradiction.0, contradiction.1)).unwrap_err();
        assert_eq!((refused.reason, refused.delivery), (Reason::RequestIdReused, Delivery::NotSent));
    }
    assert_eq!(ticket.broken_condition(CARD), None, "a refused repeat adds nothing");
    assert_eq!(ticket.join(&terms("i1", "s1")), Ok(()), "its turn has come");
}
