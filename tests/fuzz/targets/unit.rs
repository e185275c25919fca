//! A unit of any commands on a card that answers anything: a second implementation of the rules predicts the exchanges.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target reports a fault by a panic")]

use std::time::Duration;

use cardbroker_core::{
    apdu::{CommandApdu, StatusPattern, StopRule},
    card::unit::{CommandResult, MAX_GET_RESPONSES, Next, RESPONSE_ROOM_BYTES, StatusWordSource, UnitCommand, UnitRun},
    error::{Delivery, Reason},
    slot::Protocol,
};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

#[derive(Debug, Arbitrary)]
struct Case {
    commands: Vec<Command>,
    protocol: u8,
    /// The card's answers, used in a cycle.
    answers: Vec<Answer>,
}

#[derive(Debug, Arbitrary)]
struct Command {
    bytes: Vec<u8>,
    raw: bool,
    stop_rule: u8,
    continue_on: Vec<(u16, u16)>,
    continue_class: Option<u8>,
    continue_instruction: Option<u8>,
}

#[derive(Debug, Arbitrary)]
struct Answer {
    /// In units of 16 bytes.
    size: u16,
    word: Word,
}

#[derive(Debug, Arbitrary)]
enum Word {
    Success,
    More(u8),
    WrongLength(u8),
    UnknownClass,
    UnknownInstruction,
    Any(u16),
    None,
}

impl Word {
    fn number(&self) -> Option<u16> {
        match *self {
            Self::Success => Some(0x9000),
            Self::More(length) => Some(0x6100 + u16::from(length)),
            Self::WrongLength(length) => Some(0x6C00 + u16::from(length)),
            Self::UnknownClass => Some(0x6E00),
            Self::UnknownInstruction => Some(0x6D00),
            Self::Any(word) => Some(word),
            Self::None => None,
        }
    }
}

/// The exchanges for one command, and its result.
#[derive(Default)]
struct Course {
    /// Each exchange's bytes, the length of its answer and the status word.
    exchanges: Vec<(Vec<u8>, usize, u16)>,
    data: Vec<u8>,
}

/// The next step of a command.
#[derive(Debug, PartialEq)]
enum Due {
    Bytes(Vec<u8>),
    Nothing,
    /// The answer cannot be fetched.
    Lost,
}

/// The class in which an answer is fetched, and the class of a second attempt.
fn classes(command: &UnitCommand, class: u8, protocol: Protocol) -> (u8, Option<u8>) {
    if let Some(chosen) = command.continue_class() {
        return (chosen, None);
    }
    let (t0, other) = match class {
        0x00..=0x1F => (class % 4, class % 4),
        0x40..=0x7F => (0x40 + class % 16, 0x40 + class % 16),
        0x80..=0x8F => (class % 4, 0x80 + class % 4),
        0xE0..=0xEF => (0x40 + class % 16, 0xC0 + class % 16),
        _ => (class, class),
    };
    let (usual, other) = if protocol == Protocol::T0 { (t0, other) } else { (other, t0) };
    (usual, (usual != other).then_some(other))
}

impl Course {
    fn fetched(&self) -> u32 {
        self.exchanges.len().saturating_sub(self.first_fetch()) as u32
    }

    /// The index of the first GET RESPONSE: after the first `61xx`.
    fn first_fetch(&self) -> usize {
        self.exchanges.iter().position(|(.., word)| word >> 8 == 0x61).map_or(usize::MAX, |place| place + 1)
    }

    fn due(&self, command: &UnitCommand, protocol: Protocol) -> Due {
        let Some((sent, _, word)) = self.exchanges.last() else { return Due::Bytes(first(command, protocol)) };
        let Some(apdu) = command.apdu().filter(|_| !command.is_raw()) else { return Due::Nothing };
        let [class, instruction, p1, p2] = apdu.header();
        let (high, low) = ((word >> 8) as u8, *word as u8);
        let before = self.exchanges.len().checked_sub(2).map_or(0, |place| self.exchanges[place].2 >> 8);
        let with_length = |length| Due::Bytes([&sent[..4], &[length]].concat());
        let (usual, further) = classes(command, class, protocol);
        if self.fetched() == 0 {
            let (secured, chained) = match class {
                0x00..=0x1F => (class & 0x0C != 0, class & 0x10 != 0),
                0x40..=0x7F => (class & 0x20 != 0, class & 0x10 != 0),
                _ => (false, class != 0xFF && class & 0x10 != 0),
            };
            let may_correct = apdu.data().is_empty() && apdu.expected_length().is_some() && !secured && !chained;
            return match high {
                0x61 => Due::Bytes(vec![usual, command.continue_instruction.unwrap_or(0xC0), 0, 0, low]),
                0x6C if may_correct && before != 0x6C => Due::Bytes(vec![class, instruction, p1, p2, low]),
                _ => Due::Nothing,
            };
        }
        let has_brought = self.exchanges[self.first_fetch()..].iter().any(|(_, length, _)| *length > 0);
        // The class was refused, and this was another one.
        let was_further = matches!(before, 0x6D | 0x6E);
        match (high, word) {
            (0x61, _) => with_length(low),
            (0x6C, _) if before != 0x6C => with_length(low),
            _ if has_brought => Due::Nothing,
            (_, 0x6D00 | 0x6E00) if self.fetched() == 1 && further.is_some() => {
                Due::Bytes([&[further.unwrap_or_default()], &sent[1..]].concat())
            }
            (_, 0x6D00 | 0x6E00) => Due::Lost,
            (0x64..=0x6F, _) if was_further => Due::Lost,
            _ => Due::Nothing,
        }
    }

    fn answered(&mut self, sent: Vec<u8>, data: &[u8], word: u16) {
        self.exchanges.push((sent, data.len(), word));
        self.data.extend_from_slice(data);
    }

    fn word(&self) -> u16 {
        self.exchanges.last().map_or(0, |(.., word)| *word)
    }

    fn source(&self) -> StatusWordSource {
        match (self.fetched(), self.exchanges.len()) {
            (1.., _) => StatusWordSource::GetResponse,
            (0, 1) => StatusWordSource::Command,
            (0, _) => StatusWordSource::CorrectedCommand,
        }
    }
}

/// The command itself, adapted to T=0 (ISO 7816-3 §12.2).
fn first(command: &UnitCommand, protocol: Protocol) -> Vec<u8> {
    let Some(apdu) = command.apdu().filter(|_| protocol == Protocol::T0 && !command.is_raw()) else {
        return command.bytes().to_vec();
    };
    let p3 = match (apdu.data().len(), apdu.expected_length()) {
        (0, None | Some(256..)) => 0,
        (0, Some(length)) => length as u8,
        (length, _) => length as u8,
    };
    [&apdu.header()[..], &[p3], apdu.data()].concat()
}

/// The maximum of data bytes that an exchange requests, for the command itself or for its completion.
fn asked(sent: &[u8], command: &UnitCommand, is_first: bool, protocol: Protocol) -> usize {
    let is_raw = command.is_raw();
    match (sent, command.apdu()) {
        (_, None) => 65_536,
        // A T=0 header cannot request zero bytes.
        (_, Some(apdu)) if is_first && apdu.expected_length().is_none() => 0,
        ([_, _, _, _, 0], _) => 256,
        ([_, _, _, _, p3], _) => usize::from(*p3),
        _ if protocol == Protocol::T0 && !is_raw => 0,
        (_, Some(apdu)) => apdu.expected_length().unwrap_or(0),
    }
}

const RULES: [StopRule; 4] = [StopRule::Default, StopRule::Sim, StopRule::Any, StopRule::Only9000];

fn commands(case: &Case) -> Option<Vec<UnitCommand>> {
    let command = |command: &Command| {
        let patterns = command.continue_on.iter().map(|&(value, mask)| StatusPattern { value, mask });
        let bytes = command.bytes.clone();
        let read = if command.raw {
            UnitCommand::raw(bytes).ok()?
        } else {
            UnitCommand::from(CommandApdu::parse(bytes).ok()?)
        };
        let mut unit_command = match command.continue_class {
            Some(class) => read.continue_in(class).ok()?,
            None => read,
        };
        unit_command.continue_on = patterns.collect();
        unit_command.continue_instruction = command.continue_instruction;
        unit_command.stop_rule = RULES[usize::from(command.stop_rule % 4)];
        Some(unit_command)
    };
    case.commands.iter().take(64).map(command).collect()
}

fn goes_on(command: &UnitCommand, word: u16) -> bool {
    let usual = match word {
        0x6300 | 0x63C0..=0x63CF => false,
        0x9000 | 0x9100 | 0x91AF | 0x9F00..=0x9FFF | 0x6100..=0x63FF => true,
        _ => false,
    };
    match (&*command.continue_on, command.stop_rule) {
        ([], StopRule::Default) => usual,
        ([], StopRule::Sim) => usual || matches!(word, 0x9100..=0x920F),
        ([], StopRule::Any) => true,
        ([], StopRule::Only9000) => word == 0x9000,
        (patterns, _) => patterns.iter().any(|pattern| word & pattern.mask == pattern.value & pattern.mask),
    }
}

const TOOK: Duration = Duration::from_millis(1);

fn judge(result: &CommandResult, course: &Course) {
    assert_eq!(*result.data, course.data[..], "data of another exchange, or lost");
    assert_eq!(result.get_response_count, course.fetched());
    assert_eq!(result.card_duration, TOOK * course.exchanges.len() as u32);
}

fuzz_target!(|case: Case| {
    let Some(commands) = commands(&case) else { return };
    let protocol = [Protocol::T0, Protocol::T1, Protocol::Raw][usize::from(case.protocol % 3)];
    let is_long =
        |command: &UnitCommand| !command.is_raw() && command.apdu().is_some_and(|apdu| apdu.data().len() > 255);
    let too_long = protocol == Protocol::T0 && commands.iter().any(is_long);
    let mut run = match UnitRun::new(&commands, protocol) {
        Ok(run) => run,
        Err(failure) => {
            assert_eq!(failure.reason, Reason::UnsupportedLength);
            return assert!(too_long);
        }
    };
    assert!(!too_long);

    let mut answers = case.answers.iter().cycle();
    let (mut done, mut course, mut bytes, mut last_word) = (0, Course::default(), 0, None);
    let stop = loop {
        let sent = match run.next() {
            Next::Exchange(sent) => sent,
            Next::Finished(stop) => break stop,
        };
        let command = commands.get(done).expect("something is sent after the last command");
        let is_first = course.exchanges.is_empty();
        assert_eq!(sent.completes, !is_first);
        let sent = sent.bytes().to_vec();
        assert_eq!(Due::Bytes(sent.clone()), course.due(command, protocol), "not the expected exchange");
        // A card returns at most the requested bytes.
        let most = asked(&sent, command, is_first, protocol);
        assert!(bytes + most <= RESPONSE_ROOM_BYTES, "no room is left for the answer");
        let Some(answer) = answers.next() else { return };
        let Some(word) = answer.word.number() else { return assert_eq!(run.answered(&[], TOOK), None) };
        let data = vec![done as u8; (16 * usize::from(answer.size)).min(most)];
        bytes += data.len();
        course.answered(sent, &data, word);
        let result = run.answered(&[&data[..], &word.to_be_bytes()].concat(), TOOK);
        let is_complete = course.due(command, protocol) == Due::Nothing;
        assert_eq!(result.is_some(), is_complete, "the end of a command is missed, or made up");
        if let Some(result) = result {
            judge(&result, &course);
            assert_eq!((result.status_word.0, result.source), (course.word(), course.source()));
            last_word = Some(word);
            (done, course) = (done + 1, Course::default());
        }
        assert!(course.fetched() <= MAX_GET_RESPONSES && bytes <= RESPONSE_ROOM_BYTES);
    };

    let has_run = course.exchanges.iter().any(|(.., word)| word >> 8 == 0x61);
    if let Some(failure) = &stop {
        assert_eq!(failure.delivery, if has_run { Delivery::Executed } else { Delivery::NotSent });
    }
    match stop.map(|failure| failure.reason) {
        None => assert_eq!(done, commands.len(), "an early end without a reason"),
        Some(Reason::StatusWord) => {
            let (before, word) = (done.checked_sub(1).expect("nothing was answered"), last_word.expect("no word"));
            assert!(done < commands.len() && !goes_on(&commands[before], word));
        }
        Some(Reason::ResponseLost) => assert_eq!(course.due(&commands[done], protocol), Due::Lost),
        Some(Reason::ResponseTooLarge) => {
            let command = &commands[done];
            let Due::Bytes(due) = course.due(command, protocol) else { panic!("nothing more was to be sent") };
            let asked = asked(&due, command, course.exchanges.is_empty(), protocol);
            let is_room = bytes + asked <= RESPONSE_ROOM_BYTES;
            assert!(!is_room || course.fetched() == MAX_GET_RESPONSES, "there was room");
        }
        Some(other) => panic!("{other:?}"),
    }
    let partial = run.take_partial();
    assert_eq!(partial.is_some(), has_run, "an answer that says that nothing ran, or a part that is kept back");
    if let Some(partial) = partial {
        judge(&partial, &course);
        assert_eq!(partial.status_word.0 >> 8, 0x61, "the card's answer to GET RESPONSE");
    }
});
