//! Replays of single cards: by examples, and by properties of random records.

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::properties::{holds, is_broken};

const SELECT: [u8; 5] = [0x00, 0xA4, 0x00, 0x0C, 0x00];
const READ: [u8; 5] = [0x00, 0xB0, 0x00, 0x00, 0x04];
const VERIFY: [u8; 9] = [0x00, 0x20, 0x00, 0x80, 4, b'1', b'2', b'3', b'4'];
const OK: [u8; 2] = [0x90, 0x00];

fn whole(line: u64, command: &[u8], response: Option<&[u8]>) -> Step {
    let content = StepContent::Whole { command: command.into(), response: response.map(Into::into) };
    Step { line, content }
}

fn masked(line: u64, header: [u8; 4]) -> Step {
    Step { line, content: StepContent::Masked { header: Some(header) } }
}

fn recorded(steps: Vec<Step>, is_removed: bool) -> RecordedCard {
    RecordedCard { atr: vec![0x3B, 0x00], protocol: Protocol::T0, steps, is_removed }
}

/// The first of these cards, after a reset.
fn powered(cards: Vec<RecordedCard>) -> ReplayedCard {
    let mut card = ReplayedCard::first(cards.into()).unwrap();
    assert_eq!((card.reset(), card.protocol()), (vec![0x3B, 0x00], Protocol::T0));
    card
}

fn answer(bytes: &[u8], then: Option<Absence>) -> Reaction {
    Reaction::Answer { answer: bytes.into(), work: Duration::ZERO, then }
}

fn end(reaction: Reaction) -> ReplayEnd {
    match reaction {
        Reaction::ReplayEnded(end) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn resets_do_not_change_the_sequence() {
    let mut card = powered(vec![recorded(vec![whole(1, &SELECT, Some(&OK)), whole(2, &READ, Some(&OK))], false)]);
    assert_eq!(card.transmit(&SELECT), answer(&OK, None));
    card.power_off();
    assert_eq!(card.transmit(&READ), Reaction::Fail { after: Duration::ZERO });
    card.reset();
    card.reset();
    assert_eq!(card.transmit(&READ), answer(&OK, None));
    let over = ReplayEnd { cause: EndCause::Over, line: None, expected: None, received: Some([0x00, 0xB0, 0, 0]) };
    assert_eq!(end(card.transmit(&READ)), over);
}

#[test]
fn a_different_command_ends_the_replay_for_good() {
    let mut card = powered(vec![recorded(vec![whole(7, &SELECT, Some(&OK))], false)]);
    let differs = end(card.transmit(&VERIFY));
    let expected = (EndCause::Differs, Some(7), Some([0x00, 0xA4, 0x00, 0x0C]), Some([0x00, 0x20, 0x00, 0x80]));
    assert_eq!((differs.cause, differs.line, differs.expected, differs.received), expected);
    card.reset();
    assert_eq!(end(card.transmit(&SELECT)).cause, EndCause::Over);
}

#[test]
fn masked_commands_and_gaps_end_the_replay() {
    let verify = [0x00, 0x20, 0x00, 0x80];
    let first = |step: Step, command: &[u8]| end(powered(vec![recorded(vec![step], false)]).transmit(command));
    let masked_end = first(masked(3, verify), &VERIFY);
    assert_eq!(
        (masked_end.cause, masked_end.expected, masked_end.received),
        (EndCause::Masked, Some(verify), Some(verify))
    );
    assert_eq!(first(masked(3, verify), &SELECT).cause, EndCause::Differs);
    let unreadable = Step { line: 3, content: StepContent::Masked { header: None } };
    assert_eq!(first(unreadable, &SELECT).cause, EndCause::Masked);
    let gap = first(Step { line: 3, content: StepContent::Gap }, &SELECT);
    assert_eq!((gap.cause, gap.line, gap.expected), (EndCause::Gap, Some(3), None));
}

#[test]
fn bytes_that_are_no_command_are_not_shown() {
    let mut card = powered(vec![recorded(vec![whole(1, &SELECT, Some(&OK))], false)]);
    assert_eq!(end(card.transmit(b"12345678")).received, None);
}

#[test]
fn the_next_card_comes_after_a_recorded_removal() {
    let steps = || vec![whole(1, &SELECT, Some(&OK)), whole(2, &READ, Some(&OK))];
    let mut card = powered(vec![recorded(steps(), true), recorded(steps(), true)]);
    assert_eq!(card.transmit(&SELECT), answer(&OK, None));
    assert_eq!(card.transmit(&READ), answer(&OK, Some(Absence { after: PAUSE, back: Some(PAUSE) })));
    assert_eq!(end(card.transmit(&READ)).cause, EndCause::Over);
    let mut next = card.next().unwrap();
    next.reset();
    assert_eq!(next.transmit(&SELECT), answer(&OK, None));
    assert_eq!(next.transmit(&READ), answer(&OK, Some(Absence { after: PAUSE, back: None })));
    assert!(next.next().is_none());
}

#[test]
fn a_command_without_an_answer_fails_again() {
    let steps = vec![whole(1, &SELECT, None), whole(2, &READ, None)];
    let mut card = powered(vec![recorded(steps, true)]);
    assert_eq!(card.transmit(&SELECT), Reaction::Fail { after: Duration::ZERO });
    assert_eq!(card.transmit(&READ), Reaction::Leave(Absence { after: Duration::ZERO, back: None }));
}

/// Steps of a card, and the number of those that are received unchanged before another command.
type Case = (Vec<(Vec<u8>, Vec<u8>)>, usize, Vec<u8>);

fn cases() -> impl Strategy<Value = Case> {
    let command = (prop_oneof![Just(0xA4_u8), Just(0xB0)], vec(any::<u8>(), 0..6)).prop_map(|(instruction, data)| {
        let length = data.len() as u8;
        [&[0x00, instruction, 0x00, 0x00, length][..], &data].concat()
    });
    let secret = vec(1_u8.., 8).prop_map(|pin| [&[0x00, 0x20, 0x00, 0x81, 8][..], &pin].concat());
    (vec((command, vec(any::<u8>(), 2..40)), 1..12), 0_usize..12, secret)
}

/// A fault that a test plants into a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Plant {
    Nothing,
    /// A byte of a recorded answer is another one.
    OtherAnswer,
    /// The card goes on after a different command.
    GoesOn,
}

/// The recorded answers come back in order; after the first other command none does, and its data is nowhere.
fn replays((steps, count, secret): Case, plant: Plant) -> TestCaseResult {
    let mut recorded_steps: Vec<_> = (1_u64..).zip(&steps).map(|(n, (c, r))| whole(n, c, Some(r))).collect();
    if plant == Plant::OtherAnswer {
        let mut other = steps[0].1.clone();
        other[0] ^= 1;
        recorded_steps[0] = whole(1, &steps[0].0, Some(&other));
    }
    let mut card = powered(vec![recorded(recorded_steps, false)]);
    let count = count.min(steps.len());
    for (command, response) in &steps[..count] {
        prop_assert_eq!(card.transmit(command), answer(response, None), "the recorded answer");
    }
    let position = card.position;
    let ended = end(card.transmit(&secret));
    prop_assert_eq!(ended.received, Some([0x00, 0x20, 0x00, 0x81]));
    prop_assert_eq!(ended.line, steps.get(count).map(|_| count as u64 + 1));
    prop_assert_eq!(
        ended,
        end({
            card.position = position;
            card.transmit(&[&secret[..5], &[0; 8]].concat())
        })
    );
    if plant == Plant::GoesOn {
        card.position = position;
    }
    for (command, _) in &steps[count..] {
        card.reset();
        prop_assert!(matches!(card.transmit(command), Reaction::ReplayEnded(_)), "nothing is answered afterwards");
    }
    Ok(())
}

#[test]
fn random_records_are_replayed_up_to_the_first_difference() {
    holds(1_000, cases(), |case| replays(case, Plant::Nothing));
}

#[test]
fn planted_faults_break_the_replay() {
    let broken = |plant, rule| is_broken(300, cases(), |case| replays(case, plant), plant, rule);
    broken(Plant::OtherAnswer, "the recorded answer");
    broken(Plant::GoesOn, "nothing is answered afterwards");
}
