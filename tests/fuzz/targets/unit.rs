//! A unit of any commands on a card that answers anything: what is sent is foretold by a second reading of the rules.

#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a target says what is broken"
)]

use cardbroker_server::{
    apdu::{CommandApdu, StatusPattern},
    backend::Protocol,
    error::Reason,
    reader::unit::{
        CommandResult, MAX_GET_RESPONSES, Next, RESPONSE_ROOM_BYTES, StatusWordSource, UnitCommand, UnitRun,
    },
};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

#[derive(Debug, Arbitrary)]
struct Case {
    commands: Vec<Command>,
    raw: bool,
    protocol: u8,
    /// What the card answers, over and over.
    answers: Vec<Answer>,
}

#[derive(Debug, Arbitrary)]
struct Command {
    apdu: Vec<u8>,
    continue_on: Vec<(u16, u16)>,
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
    Any(u16),
    None,
}

impl Word {
    fn number(&self) -> Option<u16> {
        match *self {
            Self::Success => Some(0x9000),
            Self::More(length) => Some(0x6100 + u16::from(length)),
            Self::WrongLength(length) => Some(0x6C00 + u16::from(length)),
            Self::Any(word) => Some(word),
            Self::None => None,
        }
    }
}

/// What was sent for one command, and what it has brought.
#[derive(Default)]
struct Course {
    words: Vec<u16>,
    data: Vec<u8>,
    fetched: u32,
    last_was_fetch: bool,
    last_was_corrected: bool,
}

impl Course {
    /// What the card must get next for the command; `None` if nothing.
    fn due(&self, command: &UnitCommand, raw: bool, protocol: Protocol) -> Option<Vec<u8>> {
        let apdu = &command.apdu;
        let [class, instruction, p1, p2] = apdu.header();
        let Some(&word) = self.words.last() else { return Some(first(apdu, raw, protocol)) };
        let (high, low) = ((word >> 8) as u8, word as u8);
        let (secured, chained, channel) = match class {
            0x00..=0x1F => (class & 0x0C != 0, class & 0x10 != 0, class & 0x03),
            0x40..=0x7F => (class & 0x20 != 0, class & 0x10 != 0, 0x40 + class % 16),
            0xFF => (false, false, class),
            _ => (false, class & 0x10 != 0, class),
        };
        let fetch = vec![channel, command.continue_instruction.unwrap_or(0xC0), 0, 0, low];
        let may_correct = apdu.data().is_empty() && apdu.expected_length().is_some() && !secured && !chained;
        match high {
            _ if raw => None,
            0x61 => Some(fetch),
            0x6C if self.last_was_corrected => None,
            0x6C if self.last_was_fetch => Some(fetch),
            0x6C if may_correct => Some(vec![class, instruction, p1, p2, low]),
            _ => None,
        }
    }

    fn answered(&mut self, data: &[u8], word: u16) {
        let before = self.words.last().map_or(0, |word| word >> 8);
        self.last_was_corrected = before == 0x6C;
        self.last_was_fetch |= before == 0x61;
        self.fetched += u32::from(self.last_was_fetch);
        self.words.push(word);
        self.data.extend_from_slice(data);
    }

    fn source(&self) -> StatusWordSource {
        match (self.last_was_fetch, self.words.len()) {
            (true, _) => StatusWordSource::GetResponse,
            (false, 1) => StatusWordSource::Command,
            (false, _) => StatusWordSource::CorrectedCommand,
        }
    }
}

/// The command itself, fitted to T=0 (ISO 7816-3 §12.2).
fn first(apdu: &CommandApdu, raw: bool, protocol: Protocol) -> Vec<u8> {
    if raw || protocol != Protocol::T0 {
        return apdu.bytes().to_vec();
    }
    let p3 = match (apdu.data().len(), apdu.expected_length()) {
        (0, None | Some(256..)) => 0,
        (0, Some(length)) => length as u8,
        (length, _) => length as u8,
    };
    [&apdu.header()[..], &[p3], apdu.data()].concat()
}

/// The most data bytes that an exchange asks for.
fn asked(sent: &[u8], protocol: Protocol, raw: bool) -> usize {
    match sent {
        [_, _, _, _, 0] => 256,
        [_, _, _, _, p3] => usize::from(*p3),
        _ if protocol == Protocol::T0 && !raw => 0,
        _ => CommandApdu::parse(sent).ok().and_then(|apdu| apdu.expected_length()).unwrap_or(0),
    }
}

fn commands(case: &Case) -> Option<Vec<UnitCommand>> {
    let command = |command: &Command| {
        let patterns = command.continue_on.iter().map(|&(value, mask)| StatusPattern { value, mask });
        Some(UnitCommand {
            apdu: CommandApdu::parse(command.apdu.clone()).ok()?,
            continue_on: patterns.collect(),
            continue_instruction: command.continue_instruction,
            allow_last_try: false,
        })
    };
    case.commands.iter().take(64).map(command).collect()
}

fn goes_on(command: &UnitCommand, word: u16) -> bool {
    match &*command.continue_on {
        [] => matches!(word, 0x9000 | 0x6100..=0x63BF | 0x63D0..=0x63FF),
        patterns => patterns.iter().any(|pattern| word & pattern.mask == pattern.value & pattern.mask),
    }
}

fn judge(result: &CommandResult, course: &Course) {
    assert_eq!(*result.data, course.data[..], "data of another exchange, or lost");
    assert_eq!((Some(&result.status_word.0), result.source), (course.words.last(), course.source()));
    assert_eq!(result.get_response_count, course.fetched);
}

fuzz_target!(|case: Case| {
    let Some(commands) = commands(&case) else { return };
    let protocol = [Protocol::T0, Protocol::T1, Protocol::Raw][usize::from(case.protocol % 3)];
    let too_long = commands.iter().any(|command| command.apdu.data().len() > 255);
    let mut run = match UnitRun::new(&commands, case.raw, protocol) {
        Ok(run) => run,
        Err(failure) => {
            assert_eq!(failure.reason, Reason::UnsupportedLength);
            return assert!(too_long && protocol == Protocol::T0 && !case.raw);
        }
    };
    assert!(!too_long || protocol != Protocol::T0 || case.raw);

    let mut answers = case.answers.iter().cycle();
    let (mut done, mut course, mut bytes, mut last_word) = (0, Course::default(), 0, None);
    let stop = loop {
        let sent = match run.next() {
            Next::Exchange(sent) => sent,
            Next::Finished(stop) => break stop,
        };
        let command = commands.get(done).expect("something is sent after the last command");
        assert_eq!(sent.completes, !course.words.is_empty());
        let sent = sent.bytes;
        assert_eq!(Some(sent.to_vec()), course.due(command, case.raw, protocol), "not what is due");
        // A card gives no more than it is asked for, although a T=0 header cannot say that nothing is wanted.
        let wants_nothing = course.words.is_empty() && command.apdu.expected_length().is_none();
        let most = if wants_nothing { 0 } else { asked(&sent, protocol, case.raw) };
        assert!(bytes + most <= RESPONSE_ROOM_BYTES, "no room is left for the answer");
        let Some(answer) = answers.next() else { return };
        let Some(word) = answer.word.number() else { return assert_eq!(run.answered(&[]), None) };
        let data = vec![done as u8; (16 * usize::from(answer.size)).min(most)];
        bytes += data.len();
        course.answered(&data, word);
        let result = run.answered(&[&data[..], &word.to_be_bytes()].concat());
        let goes_on = course.due(command, case.raw, protocol).is_some();
        assert_eq!(result.is_none(), goes_on, "the end of a command is missed, or made up");
        if let Some(result) = result {
            judge(&result, &course);
            last_word = Some(word);
            (done, course) = (done + 1, Course::default());
        }
        assert!(course.fetched <= MAX_GET_RESPONSES && bytes <= RESPONSE_ROOM_BYTES);
    };

    match stop.map(|failure| failure.reason) {
        None => assert_eq!(done, commands.len(), "an early end without a reason"),
        Some(Reason::StatusWord) => {
            let (before, word) = (done.checked_sub(1).expect("nothing was answered"), last_word.expect("no word"));
            assert!(done < commands.len() && !goes_on(&commands[before], word));
        }
        Some(Reason::ResponseTooLarge) => {
            let due = commands.get(done).and_then(|command| course.due(command, case.raw, protocol));
            let due = due.expect("nothing more was to be sent");
            let room = bytes + asked(&due, protocol, case.raw) <= RESPONSE_ROOM_BYTES;
            assert!(!room || course.fetched == MAX_GET_RESPONSES, "there was room");
        }
        Some(other) => panic!("{other:?}"),
    }
    if let Some(partial) = run.take_partial() {
        judge(&partial, &course);
        let offered = course.words.last().is_some_and(|word| word >> 8 == 0x61);
        assert!(offered || course.last_was_fetch, "an answer that says that nothing ran");
    }
});
