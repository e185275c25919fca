//! Properties of request ids in random histories of requests, outcomes and time, each seen broken by a planted fault.

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::properties::{holds, is_broken};

const CASES: u32 = 500;

#[derive(Debug, Clone)]
enum Step {
    /// A request of this user with this id and these commands.
    Ask { uid: u32, id: u8, commands: u8 },
    /// The outcome of a request: not sent, unknown, or a number of bytes.
    Finish { uid: u32, id: u8, end: End },
    /// The clock advances by this many seconds.
    Pass(u64),
}

#[derive(Debug, Clone, Copy)]
enum End {
    NotSent,
    Unknown,
    Answered(usize),
}

/// A fault planted in the store. The properties must detect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The oldest outcome is evicted before its lifetime ends.
    EarlyEviction,
    /// A running request is forgotten.
    LostExecution,
    /// The fingerprints of the commands are not compared.
    Blind,
    /// None of the limits is enforced.
    NoLimit,
}

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![Just(End::NotSent), Just(End::Unknown), (0usize..60).prop_map(End::Answered)];
    let step = prop_oneof![
        5 => (0u32..3, 0u8..4, 0u8..2).prop_map(|(uid, id, commands)| Step::Ask { uid, id, commands }),
        4 => (0u32..3, 0u8..4, end).prop_map(|(uid, id, end)| Step::Finish { uid, id, end }),
        1 => (1u64..400).prop_map(Step::Pass),
    ];
    vec(step, 1..60)
}

/// An id whose unit runs or has run: its commands, and the end of its outcome's lifetime.
type Known = HashMap<RequestKey, (u8, Option<Instant>)>;

fn outcome(end: End) -> Arc<Outcome> {
    match end {
        End::NotSent => Arc::new(Err(Failure::not_sent(Reason::QueueTimeout, "late"))),
        End::Unknown => Arc::new(Err(Failure::unknown(Reason::CardLost, "lost"))),
        End::Answered(bytes) => brought(bytes),
    }
}

/// Runs a history on the store and on a simple model of it.
fn play(history: Vec<Step>, fault: Option<Fault>) -> TestCaseResult {
    let limits = if fault == Some(Fault::NoLimit) {
        OutcomeLimits { per_user: 100, total: 100, bytes: 10_000, ..LIMITS }
    } else {
        LIMITS
    };
    let (mut outcomes, mut now, mut known) = (Outcomes::new(limits), Instant::now(), Known::new());
    for step in history {
        match step {
            Step::Pass(seconds) => {
                now += Duration::from_secs(seconds);
                known.retain(|_, (_, until)| until.is_none_or(|until| until > now));
                if fault == Some(Fault::EarlyEviction) {
                    outcomes.expire(now + LIMITS.lifetime);
                }
            }
            Step::Finish { uid, id, end } => {
                let key = key(uid, id);
                if known.contains_key(&key) {
                    outcomes.finish(&key, outcome(end), now);
                    match end {
                        End::NotSent => drop(known.remove(&key)),
                        _ => drop(known.entry(key).and_modify(|(_, until)| *until = Some(now + LIMITS.lifetime))),
                    }
                }
            }
            Step::Ask { uid, id, commands } => {
                let key = key(uid, id);
                if fault == Some(Fault::LostExecution) && known.get(&key).is_some_and(|(_, until)| until.is_none()) {
                    outcomes.finish(&key, outcome(End::NotSent), now);
                }
                let fingerprint = if fault == Some(Fault::Blind) { [0; 32] } else { [commands; 32] };
                let begun = outcomes.begin(&key, &fingerprint.into(), now, || 0u8);
                match (begun, known.get(&key)) {
                    (Ok(Begin::Run), None) => {
                        known.insert(key, (commands, None));
                    }
                    (Ok(Begin::Run), Some(_)) => prop_assert!(false, "runs once: it runs again"),
                    (Ok(Begin::Join(_)), Some((first, None))) | (Ok(Begin::Replay(_)), Some((first, Some(_)))) => {
                        prop_assert!(*first == commands, "one request: other commands got its outcome");
                    }
                    (Err(failure), Some((first, _))) => {
                        prop_assert!(
                            failure.reason == Reason::RequestIdReused && *first != commands,
                            "known: {failure:?}"
                        );
                    }
                    (Err(failure), None) => prop_assert!(failure.reason == Reason::OutcomesFull, "new: {failure:?}"),
                    (Ok(begun), known) => prop_assert!(false, "known: {begun:?} for {known:?}"),
                }
                let of_user = known.keys().filter(|key| key.principal == Principal::User(uid)).count();
                prop_assert!(
                    of_user <= LIMITS.per_user && known.len() <= LIMITS.total,
                    "limits: {of_user}, {}",
                    known.len()
                );
            }
        }
    }
    // When every unit has ended and every lifetime is over, the store is empty.
    for key in known.into_keys() {
        outcomes.finish(&key, outcome(End::Unknown), now);
    }
    outcomes.expire(now + LIMITS.lifetime);
    prop_assert!(outcomes.entries.is_empty() && outcomes.per_user.is_empty() && outcomes.bytes == 0, "leaves nothing");
    Ok(())
}

#[test]
fn every_request_runs_once_and_within_the_limits() {
    holds(CASES, histories(), |history| play(history, None));
}

#[test]
fn every_planted_fault_is_found() {
    for (fault, rule) in [
        // Outcomes that were forgotten early make room for more ids than the limit.
        (Fault::EarlyEviction, "limits"),
        (Fault::LostExecution, "runs once"),
        (Fault::Blind, "one request"),
        (Fault::NoLimit, "limits"),
    ] {
        is_broken(CASES, histories(), |history| play(history, Some(fault)), fault, rule);
    }
}
