//! The commands of a unit, and the rule by which it continues after each.

use cardbroker_client as client;
use client::{ApduBytes, Command, PinPad, StopRule};

use crate::{
    border::{bytes, constant, value},
    error::Error,
    settings::{Settings, set},
};

/// The commands of one unit, or of one message of a session, 1-64. Functions that begin with
/// cardbroker_commands_set_ change the command that was added last. Commands may be used for several
/// calls. Their bytes are wiped when they are freed.
pub struct Commands(pub(crate) Settings<Vec<Entry>>);

/// A command before its use.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) action: Action,
    stop_rule: StopRule,
    /// Values, each with its mask if it has one.
    continue_on: Vec<(u16, Option<u16>)>,
}

#[derive(Clone)]
pub(crate) enum Action {
    Apdu(Apdu),
    Control(i64, ApduBytes),
    GetAttribute(i64),
    SetAttribute(i64, ApduBytes),
    PinPad(PinPad),
}

#[derive(Clone)]
pub(crate) struct Apdu {
    bytes: ApduBytes,
    is_raw: bool,
    continue_class: Option<u8>,
    continue_instruction: u8,
    allow_last_try: bool,
    allow_known_wrong: bool,
}

impl From<Apdu> for Command {
    fn from(apdu: Apdu) -> Self {
        let mut command = Self::new(apdu.bytes).continue_instruction(apdu.continue_instruction);
        if apdu.is_raw {
            command = command.raw();
        }
        if let Some(class) = apdu.continue_class {
            command = command.continue_class(class);
        }
        if apdu.allow_last_try {
            command = command.allow_last_try();
        }
        if apdu.allow_known_wrong { command.allow_known_wrong() } else { command }
    }
}

impl From<Entry> for Command {
    fn from(entry: Entry) -> Self {
        let command = match entry.action {
            Action::Apdu(apdu) => apdu.into(),
            Action::Control(code, data) => Self::control(code, data),
            Action::GetAttribute(tag) => Self::get_attribute(tag),
            Action::SetAttribute(tag, value) => Self::set_attribute(tag, value),
            Action::PinPad(pin_pad) => Self::pin_pad(pin_pad),
        };
        let command = command.stop_rule(entry.stop_rule);
        entry.continue_on.into_iter().fold(command, |command, (value, mask)| match mask {
            Some(mask) => command.continue_on(value, mask),
            None => command.continue_on_exactly(value),
        })
    }
}

pub(crate) fn change(commands: Option<&Commands>) -> Option<&Settings<Vec<Entry>>> {
    commands.map(|commands| &commands.0)
}

pub(crate) fn add(entries: &mut Vec<Entry>, action: Action) -> Result<(), Box<Error>> {
    entries.push(Entry { action, stop_rule: StopRule::Unspecified, continue_on: Vec::new() });
    Ok(())
}

pub(crate) fn last(entries: &mut [Entry]) -> Result<&mut Entry, Box<Error>> {
    entries.last_mut().ok_or_else(|| Error::invalid("no command was added yet"))
}

/// Runs the body of a setter for APDUs.
fn set_apdu(commands: Option<&Commands>, change_apdu: impl FnOnce(&mut Apdu)) -> i32 {
    set(change(commands), |entries| match &mut last(entries)?.action {
        Action::Apdu(apdu) => {
            change_apdu(apdu);
            Ok(())
        }
        _ => Err(Error::invalid("the command that was added last is no APDU")),
    })
}

/// Makes an empty list of commands.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_new() -> Option<Box<Commands>> {
    value(None, || Some(Box::new(Commands(Settings::new(Vec::new())))))
}

/// Adds an APDU of 4-65544 bytes, which are copied. The broker fetches the rest of an answer after
/// 61xx, and corrects Le after 6Cxx.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_commands_add_apdu(
    commands: Option<&Commands>,
    apdu: *const u8,
    length: usize,
) -> i32 {
    set(change(commands), |entries| {
        // SAFETY: C's promise; see lib.rs.
        let bytes = unsafe { bytes(apdu, length, "apdu") }?.into();
        let (is_raw, allow_last_try, allow_known_wrong) = (false, false, false);
        let (continue_class, continue_instruction) = (None, 0);
        let apdu = Apdu { bytes, is_raw, continue_class, continue_instruction, allow_last_try, allow_known_wrong };
        add(entries, Action::Apdu(apdu))
    })
}

/// Adds a control code for the reader or its driver, with at most 65548 bytes of data. Not
/// implemented by the broker yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_commands_add_control(
    commands: Option<&Commands>,
    code: i64,
    data: *const u8,
    length: usize,
) -> i32 {
    set(change(commands), |entries| {
        // SAFETY: C's promise; see lib.rs.
        let data = unsafe { bytes(data, length, "data") }?;
        add(entries, Action::Control(code, data.into()))
    })
}

/// Adds a look at the reader's attribute with this tag (PC/SC part 3). Not implemented by the broker
/// yet.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_add_get_attribute(commands: Option<&Commands>, tag: i64) -> i32 {
    set(change(commands), |entries| add(entries, Action::GetAttribute(tag)))
}

/// Adds a change of the reader's attribute with this tag to a value of at most 65548 bytes. Not
/// implemented by the broker yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_commands_add_set_attribute(
    commands: Option<&Commands>,
    tag: i64,
    value: *const u8,
    length: usize,
) -> i32 {
    set(change(commands), |entries| {
        // SAFETY: C's promise; see lib.rs.
        let value = unsafe { bytes(value, length, "value") }?;
        add(entries, Action::SetAttribute(tag, value.into()))
    })
}

/// Sends the APDU exactly as given, 1-65548 bytes of any structure, and returns the answer
/// unchanged: no GET RESPONSE, no correction of Le. Default: 0.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_raw(commands: Option<&Commands>, raw: i32) -> i32 {
    set_apdu(commands, |apdu| apdu.is_raw = raw != 0)
}

/// Sets the class of the GET RESPONSEs for the rest of an answer after 61xx, on the command's
/// logical channel. Default: the class that the transmission protocol needs.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_continue_class(commands: Option<&Commands>, class: u8) -> i32 {
    set_apdu(commands, |apdu| apdu.continue_class = Some(class))
}

/// Sets the instruction for the rest of an answer after 61xx. Default: 0, which means 0xC0 (GET
/// RESPONSE).
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_continue_instruction(commands: Option<&Commands>, instruction: u8) -> i32 {
    set_apdu(commands, |apdu| apdu.continue_instruction = instruction)
}

/// Sends a PIN although one try is left, on a reader where the broker guards the last try. Default:
/// 0.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_allow_last_try(commands: Option<&Commands>, allow: i32) -> i32 {
    set_apdu(commands, |apdu| apdu.allow_last_try = allow != 0)
}

/// Sends a PIN although this card has refused it already. Needs the permission guard_override.
/// Default: 0.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_allow_known_wrong(commands: Option<&Commands>, allow: i32) -> i32 {
    set_apdu(commands, |apdu| apdu.allow_known_wrong = allow != 0)
}

/// Sets the status words after which the unit continues, if no pattern is given
/// (CARDBROKER_STOP_RULE_...). Default: the ISO rule.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_stop_rule(commands: Option<&Commands>, rule: i32) -> i32 {
    set(change(commands), |entries| {
        last(entries)?.stop_rule = constant(rule, "rule")?;
        Ok(())
    })
}

/// Adds a pattern: the unit continues after status words with the bits of value under mask, which is
/// 0x0001-0xFFFF. At most 16; with a pattern the stop rule has no effect.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_add_continue_on(commands: Option<&Commands>, value: u16, mask: u16) -> i32 {
    set(change(commands), |entries| {
        last(entries)?.continue_on.push((value, Some(mask)));
        Ok(())
    })
}

/// Adds a pattern: the unit continues after exactly this status word.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_add_continue_on_exactly(commands: Option<&Commands>, value: u16) -> i32 {
    set(change(commands), |entries| {
        last(entries)?.continue_on.push((value, None));
        Ok(())
    })
}

/// Wipes and frees commands. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_free(commands: Option<Box<Commands>>) {
    value((), || drop(commands));
}
