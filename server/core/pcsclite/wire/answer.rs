//! The bytes of answers.

use zeroize::Zeroizing;

use super::{ATTRIBUTE_BYTES, Agreed, Message, NAME_BYTES, Request, word};
use crate::pcsclite::{code::Code, notification};

/// The outcome of a request, for its answer.
#[derive(Clone, Copy)]
pub enum Reply<'a> {
    /// The code and nothing else.
    Code(Code),
    /// The number of the new context.
    Established(u32),
    /// The new handle and the active protocol.
    Connected {
        /// The number of the new handle.
        handle: u32,
        /// The bit of the active protocol.
        protocol: u32,
    },
    /// The active protocol after a reconnect.
    Reconnected(u32),
    /// The card's answer to the command.
    Transmitted(&'a [u8]),
    /// The value of an attribute, at most [`ATTRIBUTE_BYTES`].
    Attribute(&'a [u8]),
    /// The version for both sides.
    Version(Agreed),
    /// The counter of readers that came or went.
    Events(u16),
    /// The number of elements of the array.
    Size(u32),
    /// The bytes of the array of readers.
    Array(&'a [u8]),
}

impl Message {
    /// Returns the bytes of the answer. They may contain the card's answer, which may be secret.
    pub fn answer(&self, reply: Reply<'_>) -> Zeroizing<Vec<u8>> {
        let mut body = Zeroizing::new(self.body.to_vec());
        let code = match reply {
            Reply::Array(array) => return Zeroizing::new(array.to_vec()),
            Reply::Size(elements) => return Zeroizing::new(elements.to_ne_bytes().to_vec()),
            Reply::Events(count) => return Zeroizing::new(words([u32::from(count), 0])),
            Reply::Code(code) => {
                match self.request {
                    // Without room for an answer none follows, and the length is not taken for one.
                    Request::Transmit { .. } => put(&mut body, 24, 0),
                    Request::Control { .. } => put(&mut body, 16, 0),
                    _ => {}
                }
                code
            }
            Reply::Established(context) => {
                put(&mut body, 4, context);
                Code::SUCCESS
            }
            Reply::Connected { handle, protocol } => {
                put(&mut body, 12 + NAME_BYTES, handle);
                put(&mut body, 16 + NAME_BYTES, protocol);
                Code::SUCCESS
            }
            Reply::Reconnected(protocol) => {
                put(&mut body, 16, protocol);
                Code::SUCCESS
            }
            Reply::Transmitted(answer) => return self.transmitted(answer),
            Reply::Attribute(value) => {
                if let Some(field) = body.get_mut(8..8 + value.len().min(ATTRIBUTE_BYTES)) {
                    field.copy_from_slice(&value[..field.len()]);
                }
                put(&mut body, 8 + ATTRIBUTE_BYTES, u32::try_from(value.len()).unwrap_or(u32::MAX));
                Code::SUCCESS
            }
            Reply::Version(agreed) => {
                let [major, minor] = agreed.numbers();
                put(&mut body, 0, major);
                put(&mut body, 4, minor);
                agreed.code
            }
        };
        put_code(&mut body, code);
        body
    }

    /// The answer to a command, in bytes that never move.
    fn transmitted(&self, answer: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut body = Zeroizing::new(Vec::with_capacity(self.body.len() + answer.len()));
        body.extend_from_slice(&self.body);
        put(&mut body, 24, u32::try_from(answer.len()).unwrap_or(u32::MAX));
        let has_room = answer.len() <= word(&self.body, 24) as usize;
        put_code(&mut body, if has_room { Code::SUCCESS } else { Code::INSUFFICIENT_BUFFER });
        body.extend_from_slice(if has_room { answer } else { &[] });
        body
    }
}

/// The bytes of a message to a client that waits for a change.
pub fn message(message: notification::Message) -> Vec<u8> {
    words([
        0,
        match message {
            notification::Message::Signal(notification::Signal::Cancelled) => Code::CANCELLED.0,
            notification::Message::Signal(notification::Signal::Changed) | notification::Message::Stopped => 0,
        },
    ])
}

fn words(words: [u32; 2]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Writes the code, which is the last word of each body.
fn put_code(body: &mut [u8], code: Code) {
    if let Some(field) = body.last_chunk_mut() {
        *field = code.0.to_ne_bytes();
    }
}

fn put(body: &mut [u8], offset: usize, value: u32) {
    if let Some(field) = body.get_mut(offset..).and_then(|rest| rest.first_chunk_mut()) {
        *field = value.to_ne_bytes();
    }
}
