//! What holds for every unit on every card, however it answers; and that each rule can be seen broken.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::properties::{holds, is_broken};

const CASES: u32 = 400;
/// More exchanges than any unit of these takes.
const ENDLESS: usize = 4 * (MAX_GET_RESPONSES as usize + 2);

#[derive(Debug, Clone)]
struct Case {
    commands: Vec<UnitCommand>,
    raw: bool,
    protocol: Protocol,
    /// What the card answers, over and over.
    answers: Vec<Vec<u8>>,
}

fn cases() -> impl Strategy<Value = Case> {
    let protocol = prop_oneof![Just(Protocol::T0), Just(Protocol::T1), Just(Protocol::Raw)];
    let rarely = prop::bool::weighted(0.1);
    (vec(command(), 1..4), rarely, protocol, vec(answer(), 1..12)).prop_map(|(commands, raw, protocol, answers)| Case {
        commands,
        raw,
        protocol,
        answers,
    })
}

fn command() -> impl Strategy<Value = UnitCommand> {
    let class = prop_oneof![3 => Just(0x00), 1 => any::<u8>()];
    let data = prop_oneof![2 => Just(0), 2 => 1..20_usize, 1 => 250..260_usize];
    let le = prop_oneof![Just(None), (0..=256_usize).prop_map(Some), Just(Some(65_536))];
    let pattern = (any::<u16>(), any::<u16>()).prop_map(|(value, mask)| StatusPattern { value, mask });
    (class, any::<[u8; 3]>(), data, le, vec(pattern, 0..2), prop::option::weighted(0.1, any::<u8>())).prop_map(
        |(class, [instruction, p1, p2], data, le, continue_on, continue_instruction)| {
            let apdu = CommandApdu::parse(encode([class, instruction, p1, p2], &vec![0x5A; data], le)).unwrap();
            UnitCommand { apdu, continue_on, continue_instruction, allow_last_try: false }
        },
    )
}

/// A command in the shortest form that its lengths allow; Le is 0 for the most of its form.
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

/// What goes wrong between the unit and the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A command is sent again, whatever it is.
    Resend,
    /// A wrong Le is corrected whatever the command is.
    AlwaysCorrect,
    /// A GET RESPONSE that nobody has offered.
    FetchOnce,
    /// A result is kept back, and comes after the next one.
    Swapped,
    /// A stop is not looked at.
    Unstoppable,
    /// T=0 gets the command as it is.
    Unfitted,
}

/// One exchange as the card sees it: which command it belongs to, what was sent, what came back.
struct Seen {
    index: usize,
    sent: Vec<u8>,
    word: u16,
}

fn run(case: &Case, fault: Option<Fault>) -> TestCaseResult {
    let Ok(mut run) = UnitRun::new(&case.commands, case.raw, case.protocol) else {
        let is_long = case.commands.iter().any(|command| command.apdu.data().len() > 255);
        prop_assert!(is_long && case.protocol == Protocol::T0 && !case.raw, "refused without a reason");
        return Ok(());
    };
    let mut seen: Vec<Seen> = Vec::new();
    let mut results: Vec<CommandResult> = Vec::new();
    let mut bytes = 0;
    let mut answers = case.answers.iter().cycle();
    let is_stopped = loop {
        prop_assert!(seen.len() <= ENDLESS, "endless");
        let sent = match run.next() {
            Next::Finished(stop) => break stop.is_some(),
            Next::Exchange(exchange) => exchange.bytes.to_vec(),
        };
        let is_first = matches!(run.step, Step::Command);
        let sent = match fault {
            Some(Fault::Unfitted) if is_first => case.commands[run.index].apdu.bytes().to_vec(),
            _ => sent,
        };
        let mut answer = answers.next().unwrap().clone();
        // A card gives no more than it is asked for.
        let room = asked(&sent);
        if answer.len() > room + 2 {
            answer.drain(..answer.len() - room - 2);
        }
        let Some(&[high, low]) = answer.last_chunk() else {
            prop_assert_eq!(run.answered(&answer), None, "an answer without a status word");
            return judge(case, &seen, &results, true, bytes);
        };
        bytes += answer.len() - 2;
        let index = run.index;
        seen.push(Seen { index, sent: sent.clone(), word: u16::from_be_bytes([high, low]) });
        if fault == Some(Fault::Resend) && seen.len() == 1 {
            seen.push(Seen { index, sent, word: 0x9000 });
        }
        let result = run.answered(&answer);
        if fault == Some(Fault::AlwaysCorrect) && high == 0x6C && result.is_some() {
            let [class, instruction, p1, p2] = case.commands[index].apdu.header();
            seen.push(Seen { index, sent: vec![class, instruction, p1, p2, low], word: 0x9000 });
        }
        if fault == Some(Fault::FetchOnce) && result.is_some() {
            let class = case.commands[index].apdu.class().for_get_response().0;
            seen.push(Seen { index, sent: vec![class, GET_RESPONSE, 0, 0, 1], word: 0x9000 });
        }
        if fault == Some(Fault::Unstoppable) {
            run.stop = None;
        }
        results.extend(result);
        if fault == Some(Fault::Swapped) && results.len() == 2 {
            results.reverse();
        }
    };
    judge(case, &seen, &results, is_stopped, bytes)
}

/// How many data bytes a command of the machine asks for at most.
fn asked(sent: &[u8]) -> usize {
    CommandApdu::parse(sent).map_or(0, |apdu| apdu.expected_length().unwrap_or(0))
}

fn judge(case: &Case, seen: &[Seen], results: &[CommandResult], is_stopped: bool, bytes: usize) -> TestCaseResult {
    prop_assert!(bytes <= RESPONSE_ROOM_BYTES, "more than there is room for");
    prop_assert!(results.len() <= case.commands.len(), "more results than commands");
    prop_assert!(seen.windows(2).all(|pair| pair[0].index <= pair[1].index), "not in order");
    let mut exchanges: HashMap<usize, Vec<&Seen>> = HashMap::new();
    seen.iter().for_each(|exchange| exchanges.entry(exchange.index).or_default().push(exchange));
    for (&index, exchanges) in &exchanges {
        let command = &case.commands[index];
        judge_command(case, command, exchanges)?;
        if let Some(result) = results.get(index) {
            let last = exchanges.last().map(|exchange| exchange.word);
            prop_assert_eq!(Some(result.status_word.0), last, "the result of another command");
            if index + 1 < results.len() {
                prop_assert!(command.lets_unit_go_on(result.status_word), "a stop was not looked at");
            }
        }
    }
    prop_assert!(is_stopped || results.len() == case.commands.len(), "an early end without a reason");
    Ok(())
}

fn judge_command(case: &Case, command: &UnitCommand, exchanges: &[&Seen]) -> TestCaseResult {
    let apdu = &command.apdu;
    let fitted = case.protocol == Protocol::T0 && !case.raw;
    if fitted {
        for exchange in exchanges {
            let [_, _, _, _, p3, data @ ..] = &exchange.sent[..] else {
                return Err(TestCaseError::fail("a TPDU without P3"));
            };
            prop_assert!(data.is_empty() || data.len() == usize::from(*p3), "P3 is not the length of what follows");
        }
    } else {
        prop_assert_eq!(&exchanges[0].sent[..], apdu.bytes(), "not the command");
    }
    prop_assert_eq!(&exchanges[0].sent[..4], &apdu.header()[..], "not the command");
    if fitted && !apdu.data().is_empty() {
        prop_assert_eq!(&exchanges[0].sent[5..], apdu.data(), "not the command's data");
    }

    let is_plain_case_2 = apdu.data().is_empty()
        && apdu.expected_length().is_some()
        && !apdu.class().has_secure_messaging()
        && !apdu.class().is_chaining();
    let fetching = [apdu.class().for_get_response().0, command.continue_instruction.unwrap_or(GET_RESPONSE), 0, 0];
    let mut corrections = 0;
    let mut fetches = 0;
    for pair in exchanges.windows(2) {
        let (before, now) = (pair[0], pair[1]);
        prop_assert!(!case.raw, "a raw command is sent again");
        prop_assert_eq!(now.sent.len(), 5, "a command with data is sent again");
        match before.word >> 8 {
            0x61 => prop_assert_eq!(&now.sent[..4], &fetching[..], "not GET RESPONSE"),
            0x6C => {
                prop_assert_eq!(&now.sent[..4], &before.sent[..4], "a correction of something else");
                corrections += u32::from(fetches == 0);
                prop_assert!(corrections <= 1, "corrected twice");
                prop_assert!(fetches > 0 || is_plain_case_2, "sent again where it may have run");
            }
            _ => return Err(TestCaseError::fail("sent again without being asked")),
        }
        prop_assert_eq!(now.sent[4], (before.word & 0xFF) as u8, "not the length that the card has named");
        fetches += u32::from(before.word >> 8 == 0x61);
    }
    prop_assert!(fetches <= MAX_GET_RESPONSES, "more than 256 GET RESPONSEs");
    Ok(())
}

#[test]
fn every_unit_keeps_the_rules_on_every_card() {
    holds(CASES, cases(), |case| run(&case, None));
}

#[test]
fn every_broken_rule_is_found() {
    for (fault, rule) in [
        (Fault::Resend, "sent again"),
        (Fault::AlwaysCorrect, "sent again"),
        (Fault::FetchOnce, "sent again"),
        (Fault::Swapped, "the result of another command"),
        (Fault::Unstoppable, "a stop was not looked at"),
        (Fault::Unfitted, "P3"),
    ] {
        is_broken(CASES, cases(), |case| run(&case, Some(fault)), fault, rule);
    }
}
