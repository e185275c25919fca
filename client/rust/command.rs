//! Commands to a card or its reader, and the status words after which the unit goes on.

use cardbroker_proto::{
    MAX_COMMANDS, MAX_MESSAGE_BYTES,
    v1::{self, ApduCommand, ControlCommand, GetAttribute, SetAttribute, StatusWordPattern, StopRule, command::Action},
};

use crate::{ApduBytes, Error, PinPad};

/// The length of the shortest command APDU, in bytes: its header.
pub const MIN_APDU_BYTES: usize = 4;

/// The length of the longest command APDU, in bytes: extended, case 4.
pub const MAX_APDU_BYTES: usize = 65_544;

/// The length of the longest [raw](Command::raw) command, of a control code's data and of an attribute's value, in
/// bytes.
pub const MAX_RAW_BYTES: usize = 65_548;

/// One command, with the status words after which the unit goes on. Made from an APDU's bytes by `into()`.
#[derive(Debug, Clone)]
pub struct Command {
    what: What,
    options: ApduOptions,
    continue_on: Vec<StatusWordPattern>,
    stop_rule: StopRule,
}

#[derive(Debug, Clone)]
enum What {
    Apdu(ApduBytes),
    Control { code: i64, data: ApduBytes },
    GetAttribute(i64),
    SetAttribute { tag: i64, value: ApduBytes },
    PinPad(PinPad),
}

#[derive(Debug, Clone, Default)]
struct ApduOptions {
    raw: bool,
    continue_class: Option<u8>,
    continue_instruction: u8,
    allow_last_try: bool,
    allow_known_wrong: bool,
}

impl Command {
    /// An APDU, 4–65,544 bytes, with the defaults: the unit goes on by the ISO rule (see [`StopRule`]), and the broker
    /// fetches the rest of an answer.
    pub fn new(apdu: impl Into<ApduBytes>) -> Self {
        Self::of(What::Apdu(apdu.into()))
    }

    /// A control code for the reader or its driver, with at most 65,548 bytes of data. Not implemented by the broker
    /// yet.
    pub fn control(code: i64, data: impl Into<ApduBytes>) -> Self {
        Self::of(What::Control { code, data: data.into() })
    }

    /// Reads the reader's attribute with this tag (PC/SC part 3 §3.1.2). Not implemented by the broker yet.
    pub fn get_attribute(tag: i64) -> Self {
        Self::of(What::GetAttribute(tag))
    }

    /// Sets the reader's attribute with this tag to a value of at most 65,548 bytes. Not implemented by the broker yet.
    pub fn set_attribute(tag: i64, value: impl Into<ApduBytes>) -> Self {
        Self::of(What::SetAttribute { tag, value: value.into() })
    }

    /// Has the reader ask for a PIN at its own keys. Not implemented by the broker yet.
    pub fn pin_pad(pin_pad: PinPad) -> Self {
        Self::of(What::PinPad(pin_pad))
    }

    fn of(what: What) -> Self {
        let stop_rule = StopRule::Unspecified;
        Self { what, options: ApduOptions::default(), continue_on: Vec::new(), stop_rule }
    }

    /// Lets the unit go on after status words that agree with `value` in all bits of `mask` (0x0001–0xFFFF). Calls add
    /// patterns, at most 16; with any pattern the stop rule has no effect.
    pub fn continue_on(mut self, value: u16, mask: u16) -> Self {
        self.continue_on.push(StatusWordPattern { value: value.into(), mask: Some(mask.into()) });
        self
    }

    /// Lets the unit go on after exactly this status word; otherwise like [`Command::continue_on`].
    pub fn continue_on_exactly(mut self, value: u16) -> Self {
        self.continue_on.push(StatusWordPattern { value: value.into(), mask: None });
        self
    }

    /// Sets the status words after which the unit goes on if `continue_on` names none. Default: the ISO rule.
    pub fn stop_rule(mut self, rule: StopRule) -> Self {
        self.stop_rule = rule;
        self
    }

    /// Sends the bytes of an APDU exactly as given, 1–65,548 of any structure, and returns the answer as the card gave
    /// it: no GET RESPONSE, no correction of Le, no conversion to T=0. No effect on other actions.
    pub fn raw(mut self) -> Self {
        self.options.raw = true;
        self
    }

    /// Sets the class of the GET RESPONSEs that fetch the rest of an APDU's answer after 61xx. It must name the logical
    /// channel of the command. Default: the class that the transmission protocol requires. No effect on other actions.
    pub fn continue_class(mut self, class: u8) -> Self {
        self.options.continue_class = Some(class);
        self
    }

    /// Fetches the rest of an APDU's answer after 61xx by this instruction instead of 0xC0 (GET RESPONSE). No effect on
    /// other actions.
    pub fn continue_instruction(mut self, instruction: u8) -> Self {
        self.options.continue_instruction = instruction;
        self
    }

    /// Sends an APDU with a PIN even if the card has reported that one try is left, on a reader where the broker guards
    /// the last try (`guard_last_try` in its configuration). No effect elsewhere.
    pub fn allow_last_try(mut self) -> Self {
        self.options.allow_last_try = true;
        self
    }

    /// Sends an APDU with a PIN even if this card has already refused it. Needs the permission `guard_override`.
    pub fn allow_known_wrong(mut self) -> Self {
        self.options.allow_known_wrong = true;
        self
    }

    /// The first violated rule of the contract, with its field; `None` for a command that the broker accepts.
    fn mistake(&self) -> Option<(&'static str, String)> {
        let (field, length) = match &self.what {
            What::Apdu(apdu) if self.options.raw => {
                let fits = (1..=MAX_RAW_BYTES).contains(&apdu.len());
                let message = || format!("{} bytes: a raw command has 1 to {MAX_RAW_BYTES}", apdu.len());
                return (!fits).then(|| ("apdu.bytes", message()));
            }
            What::Apdu(apdu) => {
                let fits = (MIN_APDU_BYTES..=MAX_APDU_BYTES).contains(&apdu.len());
                let message = || format!("{} bytes: an APDU has {MIN_APDU_BYTES} to {MAX_APDU_BYTES}", apdu.len());
                return (!fits).then(|| ("apdu.bytes", message()));
            }
            What::Control { data, .. } => ("control.data", data.len()),
            What::SetAttribute { value, .. } => ("set_attribute.value", value.len()),
            What::GetAttribute(_) | What::PinPad(_) => return None,
        };
        (length > MAX_RAW_BYTES).then(|| (field, format!("{length} bytes: at most {MAX_RAW_BYTES}")))
    }
}

impl<T: Into<ApduBytes>> From<T> for Command {
    fn from(apdu: T) -> Self {
        Self::new(apdu)
    }
}

/// Converts the commands of one unit to the contract's messages.
///
/// # Errors
/// [`Error::Invalid`] if there are none or too many, or if one is too short or too long.
pub(crate) fn to_wire(commands: Vec<Command>) -> Result<Vec<v1::Command>, Error> {
    check(&commands)?;
    Ok(commands.into_iter().map(v1::Command::from).collect())
}

/// Fails for a message longer than the broker accepts.
pub(crate) fn check_length(bytes: usize) -> Result<(), Error> {
    if bytes > MAX_MESSAGE_BYTES {
        let message = "the commands together are longer than 1 MiB: send fewer in one unit";
        return Err(Error::invalid("commands", message));
    }
    Ok(())
}

fn check(commands: &[Command]) -> Result<(), Error> {
    if commands.is_empty() || commands.len() > MAX_COMMANDS {
        let message = format!("{} commands: a unit has 1 to {MAX_COMMANDS}", commands.len());
        return Err(Error::invalid("commands", message));
    }
    for (index, command) in commands.iter().enumerate() {
        if let Some((field, mistake)) = command.mistake() {
            let message = format!("command {}: {mistake}", index + 1);
            return Err(Error::invalid(format!("commands[{index}].{field}"), message));
        }
    }
    Ok(())
}

impl From<Command> for v1::Command {
    fn from(Command { what, options, continue_on, stop_rule }: Command) -> Self {
        let action = match what {
            What::Apdu(apdu) => Action::Apdu(ApduCommand {
                bytes: apdu.expose_for_wire(),
                raw: options.raw,
                continue_class: options.continue_class.map(Into::into),
                continue_instruction: options.continue_instruction.into(),
                allow_last_try: options.allow_last_try,
                allow_known_wrong: options.allow_known_wrong,
            }),
            What::Control { code, data } => Action::Control(ControlCommand { code, data: data.expose_for_wire() }),
            What::GetAttribute(tag) => Action::GetAttribute(GetAttribute { tag }),
            What::SetAttribute { tag, value } => {
                Action::SetAttribute(SetAttribute { tag, value: value.expose_for_wire() })
            }
            What::PinPad(pin_pad) => Action::PinPad(pin_pad.into()),
        };
        Self { action: Some(action), continue_on, stop_rule: stop_rule.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_units_and_malformed_commands_are_refused_with_their_place() {
        assert!(check(&[]).is_err());
        assert!(check(&vec![Command::new([0; 4]); 65]).is_err());
        let error = check(&[[0; 4].into(), Command::new([0; 3])]).unwrap_err();
        assert_eq!(error.to_string(), "command 2: 3 bytes: an APDU has 4 to 65544");
        assert_eq!(error.field_violations()[0].field, "commands[1].apdu.bytes");
    }

    #[test]
    fn raw_commands_may_be_of_any_structure() {
        assert!(check(&[Command::new([0x00]).raw(), Command::new(vec![0; MAX_RAW_BYTES]).raw()]).is_ok());
        for length in [0, MAX_RAW_BYTES + 1] {
            assert!(check(&[Command::new(vec![0; length]).raw()]).is_err());
            assert_eq!(check(&[Command::control(1, vec![0; length])]).is_err(), length > 0);
        }
    }
}
