//! Lanes under any history of lines, batches and failures: what must hold, and faults that break it.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq,
    test_runner::TestCaseResult,
};

use super::*;
use crate::properties::{holds, is_broken};

const CASES: u32 = 500;
/// Small, so that lines are lost soon.
const ROOM: usize = 16 << 10;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A line of so many bytes comes.
    Push(Lane, usize),
    /// The writer takes a batch, and writes it or fails.
    Take { fails: bool },
    /// The writer gives up all that waits.
    Abandon,
}

/// A fault at the edge of the lanes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Gaps are not told.
    SilentGap,
    /// A failed write is not counted.
    SilentFailure,
    /// The newest lines are written first.
    NewestFirst,
    /// Ordinary lines overtake the audit trail.
    OrdinaryFirst,
    /// There is more room than there should be.
    NoBound,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = prop_oneof![Just(Lane::Audit), Just(Lane::Ordinary)];
    let step = prop_oneof![
        12 => (lane, 8_usize..6000).prop_map(|(lane, bytes)| Step::Push(lane, bytes)),
        6 => any::<bool>().prop_map(|fails| Step::Take { fails }),
        1 => Just(Step::Abandon),
    ];
    vec(step, 1..120)
}

/// The number that a line was given.
fn number(line: &[u8]) -> u64 {
    u64::from_be_bytes(line[..8].try_into().unwrap())
}

fn play(steps: Vec<Step>, fault: Option<Fault>) -> TestCaseResult {
    let mut lanes = Lanes::new(if fault == Some(Fault::NoBound) { 2 * ROOM } else { ROOM });
    // For each lane: lines pushed, the number that the next line or gap begins with.
    let (mut pushed, mut told) = ([0_u64; 2], [0_u64; 2]);
    let end = std::iter::repeat_n(Step::Take { fails: false }, 1000);
    for step in steps.into_iter().chain([Step::Push(Lane::Audit, 8), Step::Push(Lane::Ordinary, 8)]).chain(end) {
        match step {
            Step::Push(lane, bytes) => {
                let mut line = vec![0; bytes];
                line[..8].copy_from_slice(&pushed[lane as usize].to_be_bytes());
                pushed[lane as usize] += 1;
                let used = (lanes.audit.bytes, lanes.ordinary.bytes);
                lanes.push(lane, &line);
                let is_lost = (lanes.audit.bytes, lanes.ordinary.bytes) == used;
                let is_full = used.0 + used.1 + bytes + ENTRY_BYTES > ROOM;
                prop_assert!(lane == Lane::Ordinary || !is_lost || is_full, "an audit record is lost only when full");
            }
            Step::Take { fails } => {
                let mut batch = lanes.take();
                match fault {
                    Some(Fault::NewestFirst) => {
                        batch.reverse();
                        batch.sort_by_key(|(lane, _)| *lane == Lane::Ordinary);
                    }
                    Some(Fault::OrdinaryFirst) => batch.sort_by_key(|(lane, _)| *lane == Lane::Audit),
                    Some(Fault::SilentGap) => batch.retain(|(_, entry)| matches!(entry, Entry::Line(_))),
                    _ => {}
                }
                if fails {
                    if fault != Some(Fault::SilentFailure) {
                        lanes.failed(&batch);
                    }
                    continue;
                }
                let bytes: usize = batch.iter().map(|(_, entry)| entry.written_bytes()).sum();
                let entries = batch.iter().filter(|(_, entry)| matches!(entry, Entry::Line(_))).count();
                prop_assert!(bytes <= BATCH_BYTES + 2 * GAP_BYTES || entries == 1, "a batch is bounded: {bytes}");
                let is_sorted = batch.is_sorted_by_key(|(lane, _)| *lane == Lane::Ordinary);
                prop_assert!(is_sorted, "the audit trail goes first");
                for (lane, entry) in &batch {
                    let told = &mut told[*lane as usize];
                    if let Entry::Line(line) = entry {
                        prop_assert_eq!(number(line), *told, "lines come in their order, and every gap is told");
                    }
                    *told += entry.lines();
                }
            }
            Step::Abandon => lanes.abandon(),
        }
        let (audit, ordinary) = (lanes.audit.bytes, lanes.ordinary.bytes);
        prop_assert!(audit + ordinary <= ROOM && ordinary <= ROOM / 2, "the room is bounded: {audit}, {ordinary}");
        for queue in [&lanes.audit, &lanes.ordinary] {
            let entries = queue.entries.iter().map(|entry| matches!(entry, Entry::Gap(_))).collect::<Vec<_>>();
            prop_assert!(
                !entries.windows(2).any(|pair| pair == [true, true]),
                "gaps are merged, so entries are bounded"
            );
        }
    }
    prop_assert!(lanes.is_empty(), "all is taken in the end");
    prop_assert_eq!(pushed, told, "lines written and lines told as lost are all lines, every gap is told");
    Ok(())
}

#[test]
fn no_line_is_lost_without_a_count_and_the_room_is_bounded() {
    holds(CASES, steps(), |steps| play(steps, None));
}

#[test]
fn planted_faults_are_found() {
    for (fault, rule) in [
        (Fault::SilentGap, "every gap is told"),
        (Fault::SilentFailure, "every gap is told"),
        (Fault::NewestFirst, "their order"),
        (Fault::OrdinaryFirst, "goes first"),
        (Fault::NoBound, "the room is bounded"),
    ] {
        is_broken(CASES, steps(), |steps| play(steps, Some(fault)), fault, rule);
    }
}

#[test]
fn ordinary_lines_leave_half_of_the_room_to_the_audit_trail() {
    let mut lanes = Lanes::new(ROOM);
    let line = [0; 1024 - ENTRY_BYTES];
    for _ in 0..100 {
        lanes.push(Lane::Ordinary, &line);
    }
    for _ in 0..10 {
        lanes.push(Lane::Audit, &line);
    }
    let mut taken = Vec::new();
    while !lanes.is_empty() {
        taken.extend(lanes.take());
    }
    let lines = |lane| taken.iter().filter(|(of, entry)| *of == lane && matches!(entry, Entry::Line(_))).count();
    assert_eq!((lines(Lane::Audit), lines(Lane::Ordinary)), (8, 8));
    let gaps = taken.iter().filter(|(_, entry)| matches!(entry, Entry::Gap(_)));
    assert!(gaps.eq([&(Lane::Audit, Entry::Gap(2)), &(Lane::Ordinary, Entry::Gap(92))]), "{taken:?}");
}

#[test]
fn a_new_audit_record_overtakes_waiting_lines() {
    let mut lanes = Lanes::new(ROOM);
    for _ in 0..8 {
        lanes.push(Lane::Ordinary, &[b'o'; 900]);
    }
    assert_eq!(lanes.take().len(), 4, "a bounded batch");
    lanes.push(Lane::Audit, b"audit");
    assert_eq!(lanes.take()[0], (Lane::Audit, Entry::Line((*b"audit").into())));
}

#[test]
fn a_line_longer_than_a_batch_is_taken_alone() {
    let mut lanes = Lanes::new(ROOM);
    for bytes in [10, 2 * BATCH_BYTES - 1000, 10] {
        lanes.push(Lane::Ordinary, &vec![0; bytes]);
    }
    assert_eq!([lanes.take().len(), lanes.take().len(), lanes.take().len(), lanes.take().len()], [1, 1, 1, 0]);
}
