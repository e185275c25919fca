//! Commands: one APDU each, and how a unit goes on after it.

use cardbroker_proto::{
    MAX_COMMANDS, MAX_MESSAGE_BYTES,
    v1::{self, StatusWordPattern},
};

use crate::{ApduBytes, Error};

/// The length of the shortest command APDU, in bytes: its header.
pub const MIN_APDU_BYTES: usize = 4;

/// The length of the longest command APDU, in bytes: extended, case 4.
pub const MAX_APDU_BYTES: usize = 65_544;

/// A command APDU and how the unit goes on after it. Made from the APDU's bytes by `into()`.
#[derive(Debug, Clone)]
pub struct Command {
    apdu: ApduBytes,
    continue_on: Vec<StatusWordPattern>,
    continue_instruction: u8,
    allow_last_try: bool,
}

impl Command {
    /// A command with the defaults: the unit goes on after 9000, 61xx, 62xx and 63xx, not after 63Cx.
    pub fn new(apdu: impl Into<ApduBytes>) -> Self {
        Self { apdu: apdu.into(), continue_on: Vec::new(), continue_instruction: 0, allow_last_try: false }
    }

    /// Lets the unit go on after status words that agree with `value` in all bits of `mask`. The first such call
    /// replaces the default, further ones add to it; at most 16.
    pub fn continue_on(mut self, value: u16, mask: u16) -> Self {
        self.continue_on.push(StatusWordPattern { value: value.into(), mask: Some(mask.into()) });
        self
    }

    /// Fetches the rest of an answer after 61xx by this instruction instead of 0xC0 (GET RESPONSE).
    pub fn continue_instruction(mut self, instruction: u8) -> Self {
        self.continue_instruction = instruction;
        self
    }

    /// Sends a PIN although the card has said that one try is left, on a reader where the broker guards the last try
    /// (`guard_last_try` in its configuration). No effect elsewhere.
    pub fn allow_last_try(mut self) -> Self {
        self.allow_last_try = true;
        self
    }
}

impl<T: Into<ApduBytes>> From<T> for Command {
    fn from(apdu: T) -> Self {
        Self::new(apdu)
    }
}

/// The commands of one unit as they go to the broker.
///
/// # Errors
/// As the broker would refuse them: none, too many, or one of a length that no APDU has.
pub(crate) fn to_wire(commands: Vec<Command>) -> Result<Vec<v1::Command>, Error> {
    check(&commands)?;
    Ok(commands.into_iter().map(v1::Command::from).collect())
}

/// Refuses a message that is too long for the broker.
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
    for (index, Command { apdu, .. }) in commands.iter().enumerate() {
        if !(MIN_APDU_BYTES..=MAX_APDU_BYTES).contains(&apdu.len()) {
            let message = format!(
                "command {}: {} bytes: an APDU has {MIN_APDU_BYTES} to {MAX_APDU_BYTES}",
                index + 1,
                apdu.len()
            );
            return Err(Error::invalid(format!("commands[{index}].apdu"), message));
        }
    }
    Ok(())
}

impl From<Command> for v1::Command {
    fn from(command: Command) -> Self {
        Self {
            apdu: command.apdu.into_unprotected(),
            continue_on: command.continue_on,
            continue_instruction: command.continue_instruction.into(),
            allow_last_try: command.allow_last_try,
        }
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
    }
}
