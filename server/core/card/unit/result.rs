//! The result of one command of a unit, combined from its exchanges.

use std::time::Duration;

use crate::apdu::{ApduBytes, StatusWord};

/// The complete or partial answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Response data without the status word.
    pub data: ApduBytes,
    /// The status word of the answer, SW1 and SW2.
    pub status_word: StatusWord,
    /// The exchange that returned the status word.
    pub source: StatusWordSource,
    /// The number of GET RESPONSE commands that the card answered.
    pub get_response_count: u32,
    /// The time that card and reader took, for all exchanges of the command together.
    pub card_duration: Duration,
}

/// The exchange of a command that returned the status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWordSource {
    /// The command in its original form.
    Command,
    /// The command with the Le from `6Cxx`.
    CorrectedCommand,
    /// GET RESPONSE, or the caller's instruction for it.
    GetResponse,
}

impl CommandResult {
    /// The result of one exchange.
    pub fn of(data: &[u8], status_word: StatusWord, source: StatusWordSource, card_duration: Duration) -> Self {
        let get_response_count = u32::from(source == StatusWordSource::GetResponse);
        Self { data: data.into(), status_word, source, get_response_count, card_duration }
    }

    /// Returns this result continued by the next exchange.
    pub fn then(self, next: Self) -> Self {
        Self {
            data: ApduBytes::concat([&self.data, &next.data]),
            get_response_count: self.get_response_count + next.get_response_count,
            card_duration: self.card_duration + next.card_duration,
            ..next
        }
    }
}
