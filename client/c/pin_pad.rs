//! PINs that are typed at the reader's own keys.

use std::time::Duration;

use cardbroker_client as client;
use client::PinPad;

use crate::{
    border::{bytes, constant},
    commands::{Action, Commands, add, change, last},
    error::Error,
    settings::set,
};

/// Runs the body of a setter for PIN pads.
fn set_pin_pad(commands: Option<&Commands>, change_pin_pad: impl FnOnce(PinPad) -> Result<PinPad, Box<Error>>) -> i32 {
    set(change(commands), |entries| match &mut last(entries)?.action {
        Action::PinPad(pin_pad) => {
            *pin_pad = change_pin_pad(pin_pad.clone())?;
            Ok(())
        }
        _ => Err(Error::invalid("the command that was added last is no PIN pad command")),
    })
}

/// Adds a command that asks for a PIN at the reader's own keys and sends it to the card: the command
/// APDU with filler bytes in place of the PIN, and CARDBROKER_PIN_PAD_OPERATION_VERIFY or _MODIFY.
/// Not implemented by the broker yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardbroker_commands_add_pin_pad(
    commands: Option<&Commands>,
    apdu_template: *const u8,
    length: usize,
    operation: i32,
) -> i32 {
    set(change(commands), |entries| {
        // SAFETY: C's promise; see lib.rs.
        let template = unsafe { bytes(apdu_template, length, "apdu_template") }?;
        add(entries, Action::PinPad(PinPad::new(template, constant(operation, "operation")?)))
    })
}

/// Sets the encoding of the PIN (CARDBROKER_PIN_ENCODING_...). Default: ASCII.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_pin_encoding(commands: Option<&Commands>, encoding: i32) -> i32 {
    set_pin_pad(commands, |pin_pad| Ok(pin_pad.encoding(constant(encoding, "encoding")?)))
}

/// Sets the offset of the PIN in the template's data field, in bytes. Default: 0.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_pin_offset(commands: Option<&Commands>, bytes: u16) -> i32 {
    set_pin_pad(commands, |pin_pad| Ok(pin_pad.pin_offset(bytes)))
}

/// Sets the length of the PIN block in bytes. Default: 0, the length of the PIN.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_pin_block_length(commands: Option<&Commands>, bytes: u16) -> i32 {
    set_pin_pad(commands, |pin_pad| Ok(pin_pad.pin_block_length(bytes)))
}

/// Sets the smallest and the largest number of digits. Default: 0 and 0, the reader's own.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_pin_digits(commands: Option<&Commands>, min: u16, max: u16) -> i32 {
    set_pin_pad(commands, |pin_pad| Ok(pin_pad.min_digits(min).max_digits(max)))
}

/// Sets the longest pause between two keys, in milliseconds. Default: the reader's own.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_commands_set_pin_key_timeout_ms(commands: Option<&Commands>, milliseconds: u64) -> i32 {
    set_pin_pad(commands, |pin_pad| Ok(pin_pad.key_timeout(Duration::from_millis(milliseconds))))
}
