//! Properties of the lanes under any history of lines, batches and failures, and faults that break them.

use cardbroker_core::properties::{holds, is_broken};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
    prop_assert, prop_assert_eq,
    test_runner::TestCaseResult,
};

use super::*;

const CASES: u32 = 500;
/// The capacity in bytes, small, so that lines are lost soon.
const ROOM: usize = 16 << 10;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A line with this number of bytes arrives.
    Push(Lane, usize),
    /// The writer takes a batch and writes at most this number of its entries.
    Take { written: usize },
    /// The writer drops all waiting lines.
    DropLines,
}

/// A fault in the use of the lanes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Gaps are not written to the sink.
    SilentGap,
    /// A failed write is not counted.
    SilentFailure,
    /// A failed write also counts the entries that were written.
    CountsTooMuch,
    /// The newest lines are written first.
    NewestFirst,
    /// Ordinary lines overtake the audit trail.
    OrdinaryFirst,
    /// The lanes have more room than allowed.
    NoBound,
    /// The lanes have less room than allowed.
    LittleRoom,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = prop_oneof![Just(Lane::Audit), Just(Lane::Ordinary)];
    let step = prop_oneof![
        12 => (lane, 8_usize..6000).prop_map(|(lane, bytes)| Step::Push(lane, bytes)),
        3 => Just(Step::Take { written: usize::MAX }),
        3 => (0_usize..4).prop_map(|written| Step::Take { written }),
        1 => Just(Step::DropLines),
    ];
    vec(step, 1..120)
}

/// The number of a line, from its text.
fn number(line: &[u8]) -> u64 {
    u64::from_be_bytes(line[..8].try_into().unwrap())
}

fn push(lanes: &mut Lanes, lane: Lane, number: u64, bytes: usize) -> TestCaseResult {
    let mut line = vec![0; bytes];
    line[..8].copy_from_slice(&number.to_be_bytes());
    let (audit, ordinary) = (lanes.audit.bytes, lanes.ordinary.bytes);
    lanes.push(lane, &line);
    let bytes = bytes + ENTRY_BYTES;
    if lane == Lane::Audit {
        let is_lost = lanes.audit.bytes == audit;
        prop_assert!(!is_lost || audit + bytes > ROOM, "no ordinary line costs an audit record");
        prop_assert!(!is_lost || lanes.ordinary.bytes == ordinary, "no ordinary line is dropped in vain");
    }
    let is_full = audit + ordinary + bytes > ROOM;
    prop_assert!(lanes.ordinary.bytes >= ordinary || is_full, "ordinary lines are dropped only when full");
    Ok(())
}

fn play(steps: Vec<Step>, fault: Option<Fault>) -> TestCaseResult {
    let mut lanes = Lanes::new(match fault {
        Some(Fault::NoBound) => 2 * ROOM,
        Some(Fault::LittleRoom) => ROOM / 2,
        _ => ROOM,
    });
    // For each lane: the pushed lines, and the number at which the next line or gap begins.
    let (mut pushed, mut seen) = ([0_u64; 2], [0_u64; 2]);
    for step in steps.into_iter().chain(std::iter::repeat_n(Step::Take { written: usize::MAX }, 1000)) {
        match step {
            Step::Push(lane, bytes) => {
                push(&mut lanes, lane, pushed[lane as usize], bytes)?;
                pushed[lane as usize] += 1;
            }
            Step::Take { written } => {
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
                let bytes: usize = batch.iter().map(|(_, entry)| entry.written_bytes()).sum();
                prop_assert!(bytes <= BATCH_BYTES || batch.len() == 1, "a batch is bounded: {bytes}");
                let is_sorted = batch.is_sorted_by_key(|(lane, _)| *lane == Lane::Ordinary);
                prop_assert!(is_sorted, "the audit trail goes first");
                let (written, unwritten) = batch.split_at(written.min(batch.len()));
                match fault {
                    Some(Fault::SilentFailure) => {}
                    Some(Fault::CountsTooMuch) if !unwritten.is_empty() => lanes.on_write_failed(&batch),
                    _ => lanes.on_write_failed(unwritten),
                }
                for (lane, entry) in written {
                    let seen = &mut seen[*lane as usize];
                    if let Entry::Line(line) = entry {
                        prop_assert_eq!(number(line), *seen, "lines come in their order, and every gap is counted");
                    }
                    *seen += entry.lines();
                }
            }
            Step::DropLines => lanes.drop_lines(),
        }
        let (audit, ordinary) = (lanes.audit.bytes, lanes.ordinary.bytes);
        prop_assert!(audit + ordinary <= ROOM && ordinary <= ROOM / 2, "the room is bounded: {audit}, {ordinary}");
        for queue in [&lanes.audit, &lanes.ordinary] {
            let gaps = queue.entries.iter().map(|entry| matches!(entry, Entry::Gap(_))).collect::<Vec<_>>();
            prop_assert!(!gaps.windows(2).any(|pair| pair == [true, true]), "gaps are merged, so entries are bounded");
        }
    }
    prop_assert!(lanes.is_empty(), "all is taken in the end");
    prop_assert_eq!(pushed, seen, "lines written and lines lost are all lines: every gap is counted");
    Ok(())
}

#[test]
fn lost_lines_are_counted_and_the_room_is_bounded() {
    holds(CASES, steps(), |steps| play(steps, None));
}

#[test]
fn planted_faults_are_found() {
    for (fault, rule) in [
        (Fault::SilentGap, "every gap is counted"),
        (Fault::SilentFailure, "every gap is counted"),
        (Fault::CountsTooMuch, "every gap is counted"),
        (Fault::NewestFirst, "their order"),
        (Fault::OrdinaryFirst, "goes first"),
        (Fault::NoBound, "the room is bounded"),
        (Fault::LittleRoom, "no ordinary line costs an audit record"),
    ] {
        is_broken(CASES, steps(), |steps| play(steps, Some(fault)), fault, rule);
    }
}

#[test]
fn audit_lines_replace_the_oldest_ordinary_ones() {
    let mut lanes = Lanes::new(ROOM);
    let line = |number: u64| [&number.to_be_bytes()[..], &[0; 1016 - ENTRY_BYTES]].concat();
    for number in 0..100 {
        lanes.push(Lane::Ordinary, &line(number));
    }
    let mut audit = |lines, expected: (usize, usize)| {
        (0..lines).for_each(|number| lanes.push(Lane::Audit, &line(number)));
        assert_eq!((lanes.audit.bytes >> 10, lanes.ordinary.bytes >> 10), expected);
    };
    audit(8, (8, 8));
    audit(3, (11, 5));
    audit(6, (16, 0));
    let mut taken = Vec::new();
    while !lanes.is_empty() {
        taken.extend(lanes.take());
    }
    let lines = |lane| taken.iter().filter(|(of, entry)| *of == lane && matches!(entry, Entry::Line(_))).count();
    assert_eq!((lines(Lane::Audit), lines(Lane::Ordinary)), (16, 0));
    let gaps = taken.iter().filter(|(_, entry)| matches!(entry, Entry::Gap(_)));
    assert!(gaps.eq([&(Lane::Audit, Entry::Gap(1)), &(Lane::Ordinary, Entry::Gap(100))]), "{taken:?}");
}

#[test]
fn dropped_lines_leave_a_gap_in_their_position() {
    let mut lanes = Lanes::new(ROOM);
    for _ in 0..4 {
        lanes.push(Lane::Ordinary, &[b'o'; 1900]);
    }
    lanes.push(Lane::Audit, &[b'a'; 12_000]);
    lanes.take();
    let (lane, line) = (Lane::Ordinary, Entry::Line([b'o'; 1900].into()));
    assert_eq!(lanes.take(), [(lane, Entry::Gap(2)), (lane, line.clone()), (lane, line)]);
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
