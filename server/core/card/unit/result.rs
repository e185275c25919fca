//! What a command of a unit has answered, built up exchange by exchange.

use std::time::Duration;

use crate::apdu::{ApduBytes, StatusWord};

/// What a command answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Response data without the status word.
    pub data: ApduBytes,
    /// The last status word.
    pub status_word: StatusWord,
    /// Which exchange gave it.
    pub source: StatusWordSource,
    /// How many GET RESPONSEs were answered.
    pub get_response_count: u32,
    /// How long card and reader worked on it: on the command and on what completed its answer.
    pub card_duration: Duration,
}

/// Which of a command's exchanges gave the status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWordSource {
    /// The command itself.
    Command,
    /// The command with the Le that `6Cxx` asked for.
    CorrectedCommand,
    /// A GET RESPONSE.
    GetResponse,
}

impl CommandResult {
    /// The answer to one exchange.
    pub fn of(data: &[u8], status_word: StatusWord, source: StatusWordSource, card_duration: Duration) -> Self {
        let get_response_count = u32::from(source == StatusWordSource::GetResponse);
        Self { data: data.into(), status_word, source, get_response_count, card_duration }
    }

    /// The same with the answer to the next exchange.
    pub fn then(self, next: Self) -> Self {
        Self {
            data: [&*self.data, &*next.data].concat().into(),
            get_response_count: self.get_response_count + next.get_response_count,
            card_duration: self.card_duration + next.card_duration,
            ..next
        }
    }
}
