//! Requests and answers of pcsc-lite's client protocol as bytes: versions 4:4 to 4:6, in the host's byte order.
//!
//! A request has a header of 8 bytes (size of the body, command), a body of fixed size, and for two commands a payload.
//! The answer has no header. For most commands it is the body of the request with the output fields filled in.

mod answer;
mod request;
mod version;

use cardbroker_apdu_bytes::ApduBytes;

pub use self::{
    answer::{Reply, message},
    request::Request,
    version::{Agreed, Version},
};

/// The maximum payload of a request, and the maximum answer of a card.
pub const MAX_PAYLOAD: usize = 65_548;
/// The bytes of a reader's name in a request.
const NAME_BYTES: usize = 128;
/// The bytes of an attribute.
pub const ATTRIBUTE_BYTES: usize = 264;
const HEADER_BYTES: usize = 8;

/// A request, with its body as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The request with its fields.
    pub request: Request,
    body: ApduBytes,
}

/// The beginning of a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// At least this many more bytes belong to the request, at least 1.
    Missing(usize),
    /// The first request, and its length in bytes.
    Whole(Box<Message>, usize),
}

/// The client does not speak the protocol: its connection is closed without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No command has this number.
    #[error("unknown command {0}")]
    Command(u32),
    /// The body has another size than the command's.
    #[error("command {command} with a body of {size} bytes")]
    Body {
        /// The number of the command.
        command: u32,
        /// The size that the header gives.
        size: u32,
    },
    /// The payload is longer than [`MAX_PAYLOAD`].
    #[error("a payload of {0} bytes")]
    Payload(u32),
}

/// Reads the first request of `bytes`.
///
/// # Errors
/// [`Malformed`]. Nothing after that can be read.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(Parsed::Missing(HEADER_BYTES - bytes.len()));
    };
    let (size, command) = (word(header, 0), word(header, 4));
    let expected = body_size(command).ok_or(Malformed::Command(command))?;
    if size as usize != expected {
        return Err(Malformed::Body { command, size });
    }
    let Some((body, rest)) = rest.split_at_checked(expected) else {
        return Ok(Parsed::Missing(expected - rest.len()));
    };
    let announced = payload_size(command, body);
    let length = announced as usize;
    if length > MAX_PAYLOAD {
        return Err(Malformed::Payload(announced));
    }
    let Some(payload) = rest.get(..length) else { return Ok(Parsed::Missing(length - rest.len())) };
    let request = request(command, body, payload).ok_or(Malformed::Command(command))?;
    let message = Message { request, body: body.into() };
    Ok(Parsed::Whole(Box::new(message), HEADER_BYTES + expected + length))
}

/// The size of the body of a command; `None` for a number that no client sends.
fn body_size(command: u32) -> Option<usize> {
    Some(match command {
        0x01 | 0x06 | 0x08 | 0x11 => 12,
        0x02 | 0x07 | 0x0B | 0x0D => 8,
        0x04 => 24 + NAME_BYTES,
        0x05 | 0x0A => 24,
        0x09 => 32,
        0x0F | 0x10 => 16 + ATTRIBUTE_BYTES,
        0x12..=0x17 => 0,
        _ => return None,
    })
}

/// The size of the payload behind a body.
fn payload_size(command: u32, body: &[u8]) -> u32 {
    match command {
        0x09 => word(body, 12),
        0x0A => word(body, 8),
        _ => 0,
    }
}

fn request(command: u32, body: &[u8], payload: &[u8]) -> Option<Request> {
    let at = |offset| word(body, offset);
    Some(match command {
        0x01 => Request::Establish { scope: at(0) },
        0x02 => Request::Release { context: at(0) },
        0x04 => Request::Connect {
            context: at(0),
            reader: name(body.get(4..4 + NAME_BYTES)?),
            share: at(4 + NAME_BYTES),
            protocols: at(8 + NAME_BYTES),
        },
        0x05 => Request::Reconnect { handle: at(0), share: at(4), protocols: at(8), initialization: at(12) },
        0x06 => Request::Disconnect { handle: at(0), disposition: at(4) },
        0x07 => Request::Begin { handle: at(0) },
        0x08 => Request::End { handle: at(0), disposition: at(4) },
        0x09 => Request::Transmit {
            handle: at(0),
            protocol: at(4),
            room: (at(24) as usize).min(MAX_PAYLOAD),
            command: payload.into(),
        },
        0x0A => Request::Control { handle: at(0) },
        0x0B => Request::Status { handle: at(0) },
        0x0D => Request::Cancel { context: at(0) },
        0x0F => Request::GetAttribute { handle: at(0), attribute: at(4) },
        0x10 => Request::SetAttribute { handle: at(0) },
        0x11 => Request::Version { major: at(0), minor: at(4) },
        0x12 => Request::ReaderStates,
        0x13 => Request::Wait,
        0x14 => Request::StopWaiting,
        0x15 => Request::ReaderEvents,
        0x16 => Request::ArraySize,
        0x17 => Request::Array,
        _ => return None,
    })
}

/// The word at `offset`; 0 outside of `bytes`.
fn word(bytes: &[u8], offset: usize) -> u32 {
    let found = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |word| u32::from_ne_bytes(*word))
}

/// The name in a field that ends with the field or a zero byte.
fn name(field: &[u8]) -> String {
    let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
