//! The answers of a unit, and how it ran.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    ptr,
    time::Duration,
};

use cardbroker_client as client;
use client::{CommandResult, ResultKind, Transmitted};

use crate::border::{address, array, c_text, flag, nanoseconds, value};

/// The answer to an APDU.
pub const CARDBROKER_ANSWER_KIND_APDU: i32 = 1;
/// The answer to a control code.
pub const CARDBROKER_ANSWER_KIND_CONTROL: i32 = 2;
/// The answer to reading or setting an attribute.
pub const CARDBROKER_ANSWER_KIND_ATTRIBUTE: i32 = 3;
/// The card's answer to a PIN that was typed at the reader.
pub const CARDBROKER_ANSWER_KIND_PIN_PAD: i32 = 4;

/// The answers and times of a unit. Texts and data live as long as they. Data is wiped when they are
/// freed.
pub struct Answers {
    results: Vec<CommandResult>,
    insertion_id: CString,
    state_tag: CString,
    queue_duration: Duration,
    card_duration: Duration,
    was_reset: bool,
    replayed: bool,
}

impl Answers {
    pub(crate) fn of(transmitted: Transmitted) -> Self {
        Self {
            results: transmitted.results,
            insertion_id: c_text(transmitted.insertion_id),
            state_tag: c_text(transmitted.state_tag),
            queue_duration: transmitted.queue_duration,
            card_duration: transmitted.card_duration,
            was_reset: transmitted.was_reset,
            replayed: transmitted.replayed,
        }
    }
}

fn get<T>(answers: Option<&Answers>, index: usize, part: impl FnOnce(&CommandResult) -> T) -> Option<T> {
    answers?.results.get(index).map(part)
}

fn kind_number(kind: ResultKind) -> i32 {
    match kind {
        ResultKind::Apdu => CARDBROKER_ANSWER_KIND_APDU,
        ResultKind::Control => CARDBROKER_ANSWER_KIND_CONTROL,
        ResultKind::Attribute => CARDBROKER_ANSWER_KIND_ATTRIBUTE,
        ResultKind::PinPad => CARDBROKER_ANSWER_KIND_PIN_PAD,
        _ => 0,
    }
}

/// The number of answers; they are in the order of the commands.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_count(answers: Option<&Answers>) -> usize {
    value(0, || answers.map_or(0, |answers| answers.results.len()))
}

/// The kind of an answer (CARDBROKER_ANSWER_KIND_...); 0 for a kind newer than this library.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_kind(answers: Option<&Answers>, index: usize) -> i32 {
    value(0, || get(answers, index, |result| kind_number(result.kind)).unwrap_or_default())
}

/// The response data without the status word, the answer to a control code, or the value of an
/// attribute. Its length goes to *length.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_data(
    answers: Option<&Answers>,
    index: usize,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    value(ptr::null(), || {
        let result = answers.and_then(|answers| answers.results.get(index));
        array(result.map(|result| &*result.data), length)
    })
}

/// SW1 and SW2: 0x9000 is normal processing. 0 if there is none. Status words are data: a call with
/// the answer 0x6982 has succeeded.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_status_word(answers: Option<&Answers>, index: usize) -> u16 {
    value(0, || get(answers, index, |result| result.status_word).unwrap_or_default())
}

/// The exchange that the status word comes from (CARDBROKER_STATUS_WORD_SOURCE_...).
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_status_word_source(answers: Option<&Answers>, index: usize) -> i32 {
    value(0, || get(answers, index, |result| result.status_word_source_number).unwrap_or_default())
}

/// The count of GET RESPONSEs that the command took, 0-256.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_get_response_count(answers: Option<&Answers>, index: usize) -> u32 {
    value(0, || get(answers, index, |result| result.get_response_count).unwrap_or_default())
}

/// The time that the card and its reader worked on one command, in nanoseconds.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_command_duration_ns(answers: Option<&Answers>, index: usize) -> u64 {
    value(0, || get(answers, index, |result| nanoseconds(result.card_duration)).unwrap_or_default())
}

/// The insertion that the unit ran on; within a session the one at its opening.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_insertion_id(answers: Option<&Answers>) -> *const c_char {
    value(ptr::null(), || address(answers.map(|answers| &answers.insertion_id)))
}

/// The state tag after the unit, for cardbroker_turn_options_set_if_state_tag. Empty within a
/// session, where no other caller can change it.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_state_tag(answers: Option<&Answers>) -> *const c_char {
    value(ptr::null(), || address(answers.map(|answers| &answers.state_tag)))
}

/// The time that the unit waited for its turn, in nanoseconds. 0 within a session.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_queue_duration_ns(answers: Option<&Answers>) -> u64 {
    value(0, || answers.map_or(0, |answers| nanoseconds(answers.queue_duration)))
}

/// The time that the card worked on the unit, in nanoseconds.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_card_duration_ns(answers: Option<&Answers>) -> u64 {
    value(0, || answers.map_or(0, |answers| nanoseconds(answers.card_duration)))
}

/// Whether the card was reset between the previous unit and this one, or at the start of this one.
/// False within a session.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_was_reset(answers: Option<&Answers>) -> i32 {
    flag(|| answers.is_some_and(|answers| answers.was_reset))
}

/// Whether this is the stored outcome of an earlier unit with the same request id.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_replayed(answers: Option<&Answers>) -> i32 {
    flag(|| answers.is_some_and(|answers| answers.replayed))
}

/// Wipes and frees answers. NULL is allowed. Not for those of cardbroker_error_partial.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_answers_free(answers: Option<Box<Answers>>) {
    value((), || drop(answers));
}
