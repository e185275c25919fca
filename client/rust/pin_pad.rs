//! PINs that are typed at the reader's own keys.

use std::time::Duration;

use cardbroker_proto::v1::{PinEncoding, PinPadCommand, PinPadOperation};

use crate::{ApduBytes, response::to_wire};

/// Has the reader ask for a PIN at its own keys and send it to the card (PC/SC part 10); for
/// [`Command::pin_pad`](crate::Command::pin_pad). Not implemented by the broker yet.
#[derive(Debug, Clone)]
pub struct PinPad {
    template: ApduBytes,
    operation: PinPadOperation,
    encoding: PinEncoding,
    pin_offset: u16,
    pin_block_length: u16,
    min_digits: u16,
    max_digits: u16,
    key_timeout: Option<Duration>,
}

impl PinPad {
    /// Asks for the PINs of `operation` and writes them into `template`: the command APDU with filler bytes in place of
    /// the PIN.
    pub fn new(template: impl Into<ApduBytes>, operation: PinPadOperation) -> Self {
        Self {
            template: template.into(),
            operation,
            encoding: PinEncoding::Unspecified,
            pin_offset: 0,
            pin_block_length: 0,
            min_digits: 0,
            max_digits: 0,
            key_timeout: None,
        }
    }

    /// Sets the encoding of the PIN in the template. Default: ASCII.
    pub fn encoding(mut self, encoding: PinEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Sets the offset of the PIN, in bytes from the beginning of the template's data field. Default: 0.
    pub fn pin_offset(mut self, bytes: u16) -> Self {
        self.pin_offset = bytes;
        self
    }

    /// Sets the length of the PIN block in bytes. Default (0): the length of the PIN.
    pub fn pin_block_length(mut self, bytes: u16) -> Self {
        self.pin_block_length = bytes;
        self
    }

    /// Sets the minimum number of digits that the reader accepts. Default (0): the reader's own.
    pub fn min_digits(mut self, digits: u16) -> Self {
        self.min_digits = digits;
        self
    }

    /// Sets the maximum number of digits that the reader accepts. Default (0): the reader's own.
    pub fn max_digits(mut self, digits: u16) -> Self {
        self.max_digits = digits;
        self
    }

    /// Sets how long the reader waits for the next key. Default: the reader's own.
    pub fn key_timeout(mut self, timeout: Duration) -> Self {
        self.key_timeout = Some(timeout);
        self
    }
}

impl From<PinPad> for PinPadCommand {
    fn from(pin_pad: PinPad) -> Self {
        Self {
            template: pin_pad.template.expose_for_wire(),
            operation: pin_pad.operation.into(),
            encoding: pin_pad.encoding.into(),
            pin_offset: pin_pad.pin_offset.into(),
            pin_block_length: pin_pad.pin_block_length.into(),
            min_digits: pin_pad.min_digits.into(),
            max_digits: pin_pad.max_digits.into(),
            key_timeout: pin_pad.key_timeout.map(to_wire),
        }
    }
}
