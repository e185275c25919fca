//! `Debug` for the messages that hold APDU bytes: lengths, never bytes, for they may be PINs or keys.

use std::fmt;

use crate::v1::{Command, CommandResult};

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Command")
            .field("apdu", &format_args!("{} bytes", self.apdu.len()))
            .field("continue_on", &self.continue_on)
            .field("continue_instruction", &self.continue_instruction)
            .finish()
    }
}

impl fmt::Debug for CommandResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CommandResult")
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("status_word", &format_args!("{:04X}", self.status_word))
            .field("status_word_source", &self.status_word_source())
            .field("get_response_count", &self.get_response_count)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{Command, CommandResult, TransmitRequest, TransmitResponse};

    #[test]
    fn no_byte_of_a_command_or_an_answer_is_printed() {
        let secret = b"\x00\x20\x00\x80\x08 1234567".to_vec();
        let request = TransmitRequest {
            commands: vec![Command { apdu: secret.clone(), ..Command::default() }],
            ..TransmitRequest::default()
        };
        let response = TransmitResponse {
            results: vec![CommandResult { data: secret, status_word: 0x9000, ..CommandResult::default() }],
            ..TransmitResponse::default()
        };
        for printed in [format!("{request:?}"), format!("{response:#?}")] {
            assert!(printed.contains("13 bytes"), "{printed}");
            assert!(!printed.contains("49, 50") && !printed.contains("1234"), "{printed}");
        }
    }
}
