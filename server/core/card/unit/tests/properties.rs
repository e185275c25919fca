//! Random units on cards with arbitrary answers: every exchange follows the rules, and the test finds each planted
//! fault.

mod judge;

use judge::{Seen, fitted, judge, judge_stop};
use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::properties::{holds, is_broken};

const CASES: u32 = 400;
/// More exchanges than any of these units needs.
const ENDLESS: usize = 4 * (MAX_GET_RESPONSES as usize + 2);

#[derive(Debug, Clone)]
struct Case {
    commands: Vec<UnitCommand>,
    protocol: Protocol,
    /// The card's answers, in a cycle.
    answers: Vec<Vec<u8>>,
}

fn cases() -> impl Strategy<Value = Case> {
    let protocol = prop_oneof![Just(Protocol::T0), Just(Protocol::T1), Just(Protocol::Raw)];
    (vec(command(), 1..4), protocol, vec(answer(), 1..12)).prop_map(|(commands, protocol, answers)| Case {
        commands,
        protocol,
        answers,
    })
}

fn command() -> impl Strategy<Value = UnitCommand> {
    let class = prop_oneof![3 => Just(0x00), 2 => 0x80..=0x8F_u8, 1 => any::<u8>()];
    let data = prop_oneof![2 => Just(0), 2 => 1..20_usize, 1 => 250..260_usize];
    let le = prop_oneof![Just(None), (0..=256_usize).prop_map(Some), Just(Some(65_536))];
    let pattern = (any::<u16>(), any::<u16>()).prop_map(|(value, mask)| StatusPattern { value, mask });
    let rule = prop_oneof![
        3 => Just(StopRule::Default),
        1 => Just(StopRule::Sim),
        1 => Just(StopRule::Any),
        1 => Just(StopRule::Only9000),
    ];
    let rarely = || prop::option::weighted(0.1, any::<u8>());
    let bytes = (class, any::<[u8; 3]>(), data, le).prop_map(|(class, [instruction, p1, p2], data, le)| {
        encode([class, instruction, p1, p2], &vec![0x5A; data], le)
    });
    let raw =
        prop_oneof![1 => bytes.clone(), 1 => vec(any::<u8>(), 1..12)].prop_map(|raw| UnitCommand::raw(raw).unwrap());
    let fitted = bytes.prop_map(|bytes| UnitCommand::from(CommandApdu::parse(bytes).unwrap()));
    let command = prop_oneof![8 => fitted, 1 => raw];
    (command, vec(pattern, 0..2), rule, rarely(), rarely()).prop_map(
        |(command, continue_on, rule, class, instruction)| {
            let chosen = class.and_then(|class| command.clone().continue_in(class).ok());
            let mut command = chosen.unwrap_or(command);
            (command.continue_on, command.stop_rule, command.continue_instruction) = (continue_on, rule, instruction);
            command
        },
    )
}

/// Encodes a command in the shortest form for its lengths; Le is 0 for the maximum of that form.
fn encode(header: [u8; 4], data: &[u8], le: Option<usize>) -> Vec<u8> {
    let is_extended = data.len() > 255 || le.is_some_and(|le| le > 256);
    let (short, long) = (|length: usize| vec![length as u8], |length: usize| (length as u16).to_be_bytes().to_vec());
    let length = |value| if is_extended { long(value) } else { short(value) };
    let mark = if is_extended { vec![0] } else { Vec::new() };
    let lc = if data.is_empty() { Vec::new() } else { length(data.len()) };
    [header.to_vec(), mark, lc, data.to_vec(), le.map(length).unwrap_or_default()].concat()
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => Just([0x90, 0x00]),
        4 => any::<u8>().prop_map(|more| [0x61, more]),
        3 => any::<u8>().prop_map(|right| [0x6C, right]),
        1 => any::<[u8; 2]>(),
    ];
    prop_oneof![
        12 => (vec(any::<u8>(), 0..6), word).prop_map(|(data, word)| [&data[..], &word].concat()),
        4 => prop_oneof![Just(vec![0x6D, 0x00]), Just(vec![0x6E, 0x00])],
        1 => word_and_much(),
        1 => vec(any::<u8>(), 0..2),
    ]
}

fn word_and_much() -> impl Strategy<Value = Vec<u8>> {
    (60_000..65_537_usize, any::<bool>()).prop_map(|(length, more)| {
        let mut data = vec![0x77; length];
        data.extend(if more { [0x61, 0x00] } else { [0x90, 0x00] });
        data
    })
}

/// A fault between the unit and the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Every command is sent again.
    Resend,
    /// A wrong Le is corrected for every command.
    AlwaysCorrect,
    /// GET RESPONSE is sent without an offered answer.
    FetchOnce,
    /// The first two results are swapped.
    Swapped,
    /// The stop of a unit is ignored.
    Unstoppable,
    /// T=0 receives the command unconverted.
    Unfitted,
    /// A refused GET RESPONSE is sent more than twice.
    TriesOn,
    /// The refusal of GET RESPONSE becomes the command's status word.
    HandsOutRefusal,
    /// A lost answer is reported as not sent.
    SaysNotSent,
}

fn run(case: &Case, fault: Option<Fault>) -> TestCaseResult {
    let Ok(mut run) = UnitRun::new(&case.commands, case.protocol) else {
        let is_long = |command: &UnitCommand| fitted(command).is_some_and(|apdu| apdu.data().len() > 255);
        let are_long = case.commands.iter().any(is_long);
        prop_assert!(are_long && case.protocol == Protocol::T0, "refused without a reason");
        return Ok(());
    };
    let mut seen: Vec<Seen> = Vec::new();
    let mut results: Vec<CommandResult> = Vec::new();
    let mut bytes = 0;
    let mut answers = case.answers.iter().cycle();
    let mut stop = loop {
        prop_assert!(seen.len() <= ENDLESS, "endless");
        let sent = match run.next() {
            Next::Finished(stop) => break stop,
            Next::Exchange(exchange) => exchange.bytes().to_vec(),
        };
        let is_first = matches!(run.step, Step::Command);
        let sent = match fault {
            Some(Fault::Unfitted) if is_first => case.commands[run.index].bytes().to_vec(),
            _ => sent,
        };
        let mut answer = answers.next().unwrap().clone();
        // A card returns no more than the requested length.
        let room = expected(&sent);
        if answer.len() > room + 2 {
            answer.drain(..answer.len() - room - 2);
        }
        let Some(&[high, low]) = answer.last_chunk() else {
            prop_assert_eq!(run.answered(&answer, TOOK), None, "an answer without a status word");
            return judge(case, &seen, &results, true);
        };
        bytes += answer.len() - 2;
        let index = run.index;
        let has_data = answer.len() > 2;
        seen.push(Seen { index, sent: sent.clone(), word: u16::from_be_bytes([high, low]), has_data });
        if fault == Some(Fault::Resend) && seen.len() == 1 {
            seen.push(Seen { index, sent, word: 0x9000, has_data });
        }
        let mut result = run.answered(&answer, TOOK);
        let apdu = fitted(&case.commands[index]);
        if let (Some(Fault::AlwaysCorrect), 0x6C, Some(_), Some(apdu)) = (fault, high, &result, apdu) {
            let sent = [&apdu.header()[..], &[low]].concat();
            seen.push(Seen { index, sent, word: 0x9000, has_data: false });
        }
        if let (Some(Fault::FetchOnce), Some(_), Some(apdu)) = (fault, &result, apdu) {
            let class = apdu.class().fetching_from_application().0;
            seen.push(Seen { index, sent: vec![class, GET_RESPONSE, 0, 0, 1], word: 0x9000, has_data: false });
        }
        let is_lost = run.stop.as_ref().is_some_and(|stop| stop.reason == Reason::ResponseLost);
        if fault == Some(Fault::TriesOn) && is_lost {
            let sent = seen.last().unwrap().sent.clone();
            seen.push(Seen { index, sent, word: 0x6E00, has_data: false });
        }
        if fault == Some(Fault::HandsOutRefusal) && is_lost {
            let refusal = StatusWord(0x6E00);
            result = run.take_partial().map(|partial| CommandResult { status_word: refusal, ..partial });
            run.stop = None;
            run.complete(&case.commands[index], refusal);
        }
        if fault == Some(Fault::Unstoppable) {
            run.stop = None;
        }
        results.extend(result);
        if fault == Some(Fault::Swapped) && results.len() == 2 {
            results.reverse();
        }
    };
    prop_assert!(bytes <= RESPONSE_ROOM_BYTES, "more data than the space allows");
    if let (Some(Fault::SaysNotSent), Some(stop)) = (fault, &mut stop) {
        stop.delivery = Delivery::NotSent;
    }
    judge(case, &seen, &results, stop.is_some())?;
    judge_stop(&mut run, stop, &seen, &results)
}

/// The most data bytes of the answer to a command of the unit.
fn expected(sent: &[u8]) -> usize {
    CommandApdu::parse(sent).map_or(0, |apdu| apdu.expected_length().unwrap_or(0))
}

#[test]
fn every_unit_follows_the_rules_on_every_card() {
    holds(CASES, cases(), |case| run(&case, None));
}

#[test]
fn every_planted_fault_is_found() {
    for (fault, rule) in [
        (Fault::Resend, "sent again"),
        (Fault::AlwaysCorrect, "sent again"),
        (Fault::FetchOnce, "sent again"),
        (Fault::Swapped, "the result of another command"),
        (Fault::Unstoppable, "a stop was ignored"),
        (Fault::Unfitted, "P3"),
        (Fault::TriesOn, "sent again"),
        (Fault::HandsOutRefusal, "the refusal of GET RESPONSE"),
        (Fault::SaysNotSent, "wrong about the command"),
    ] {
        is_broken(CASES, cases(), |case| run(&case, Some(fault)), fault, rule);
    }
}
