//! The options of APDUs, shared by units and sessions.

use cardbroker_client::{ApduBytes, Command};
use clap::Args;

#[derive(Clone, Args)]
#[command(next_help_heading = "APDUs")]
pub(crate) struct CommandArguments {
    /// Send the bytes exactly as given, even if they are not an APDU, and print every answer as the card gave it: no
    /// GET RESPONSE, no correction of Le.
    #[arg(long)]
    pub(crate) raw: bool,
    /// The class of the GET RESPONSE that fetches the rest of an answer after 61xx, in hexadecimal. [default: the class
    /// that the card's protocol requires]
    #[arg(long, value_name = "CLA", value_parser = byte)]
    continue_class: Option<u8>,
    /// The instruction that fetches the rest of an answer after 61xx instead of C0, in hexadecimal (A5 for some cards).
    #[arg(long, value_name = "INS", value_parser = byte, default_value = "00", hide_default_value = true)]
    continue_instruction: u8,
    /// Send a PIN even if the card has reported that one try is left, where the broker guards the last try.
    #[arg(long)]
    allow_last_try: bool,
    /// Send a PIN even if this card has already refused it. Needs the permission guard_override.
    #[arg(long)]
    allow_known_wrong: bool,
}

impl CommandArguments {
    /// Makes a command with these options from an APDU.
    pub(crate) fn command(&self, apdu: ApduBytes) -> Command {
        let mut command = Command::new(apdu).continue_instruction(self.continue_instruction);
        if let Some(class) = self.continue_class {
            command = command.continue_class(class);
        }
        if self.raw {
            command = command.raw();
        }
        if self.allow_last_try {
            command = command.allow_last_try();
        }
        if self.allow_known_wrong {
            command = command.allow_known_wrong();
        }
        command
    }
}

fn byte(text: &str) -> Result<u8, std::num::ParseIntError> {
    u8::from_str_radix(text, 16)
}
