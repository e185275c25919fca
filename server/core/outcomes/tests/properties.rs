//! Properties of request ids in random histories of requests, outcomes and time, each seen broken by a planted fault.

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::properties::{holds, is_broken};

const CASES: u32 = 500;
/// As many ids as the histories use, and so few bytes that they often are too few.
const LIMITS: OutcomeLimits = OutcomeLimits { per_user: 3, total: 8, bytes: 32 << 10, ..super::LIMITS };
/// The most data of one answer: more than a user's share.
const MOST: usize = 9_000;

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
    /// An outcome takes the room of another user's answers.
    OthersEviction,
    /// Dropped answers take their id with them.
    LostId,
    /// A running request is forgotten.
    LostExecution,
    /// The fingerprints of the commands are not compared.
    Blind,
    /// None of the limits is enforced.
    NoLimit,
}

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![Just(End::NotSent), Just(End::Unknown), (0..MOST).prop_map(End::Answered)];
    let step = prop_oneof![
        5 => (0u32..4, 0u8..4, 0u8..2).prop_map(|(uid, id, commands)| Step::Ask { uid, id, commands }),
        4 => (0u32..4, 0u8..4, end).prop_map(|(uid, id, end)| Step::Finish { uid, id, end }),
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

/// The kept outcomes with answers of all users but one.
fn answers_of_others(outcomes: &Outcomes<u8>, uid: u32) -> Vec<RequestKey> {
    let is_answered = |entry: &Entry<u8>| matches!(&entry.stage, Stage::Done { outcome, .. } if outcome.is_ok());
    let others = outcomes.entries.iter().filter(|(key, _)| key.principal != Principal::User(example(uid)));
    let mut keys: Vec<_> = others.filter(|(_, entry)| is_answered(entry)).map(|(key, _)| key.clone()).collect();
    keys.sort();
    keys
}

/// Runs a history on the store and on a simple model of it.
fn play(history: Vec<Step>, fault: Option<Fault>) -> TestCaseResult {
    let limits = if fault == Some(Fault::NoLimit) {
        OutcomeLimits { per_user: 100, total: 100, bytes: 1 << 20, ..LIMITS }
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
                    let others = answers_of_others(&outcomes, uid);
                    outcomes.finish(&key, outcome(end), now);
                    match (fault, others.first()) {
                        (Some(Fault::OthersEviction), Some(other)) => {
                            outcomes.finish(other, Arc::new(Err(answers_dropped())), now);
                        }
                        (Some(Fault::LostId), Some(other)) => outcomes.forget(other),
                        _ => {}
                    }
                    let kept = answers_of_others(&outcomes, uid);
                    prop_assert!(kept == others || fault == Some(Fault::LostId), "others: {kept:?} of {others:?}");
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
                let of_user = known.keys().filter(|key| key.principal == Principal::User(example(uid))).count();
                prop_assert!(
                    of_user <= LIMITS.per_user && known.len() <= LIMITS.total,
                    "limits: {of_user}, {}",
                    known.len()
                );
                let bytes = outcomes.room.held_by(&Principal::User(example(uid))).1;
                prop_assert!(bytes <= LIMITS.bytes as u64 / 4, "limits: {bytes} bytes");
            }
        }
    }
    // When every unit has ended and every lifetime is over, the store is empty.
    for key in known.into_keys() {
        outcomes.finish(&key, outcome(End::Unknown), now);
    }
    outcomes.expire(now + LIMITS.lifetime);
    let is_empty = outcomes.entries.is_empty() && outcomes.expiry.is_empty() && outcomes.with_answers.is_empty();
    prop_assert!(is_empty && outcomes.room.taken() == (0, 0), "leaves nothing");
    Ok(())
}

#[test]
fn every_request_runs_once_and_within_the_limits() {
    holds(CASES, histories(), |history| play(history, None));
}

#[test]
fn every_planted_fault_is_found() {
    for (fault, rule) in [
        (Fault::EarlyEviction, "runs once"),
        (Fault::OthersEviction, "others"),
        (Fault::LostId, "runs once"),
        (Fault::LostExecution, "runs once"),
        (Fault::Blind, "one request"),
        (Fault::NoLimit, "limits"),
    ] {
        is_broken(CASES, histories(), |history| play(history, Some(fault)), fault, rule);
    }
}
