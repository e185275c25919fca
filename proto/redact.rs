//! `Debug` for the messages that hold card data or a request id: prints neither the bytes nor their number, because
//! they may be PINs or keys.

use std::fmt;

use crate::{
    diagnostics::v1::CommandEvent,
    v1::{
        ApduCommand, ApduResult, AttributeResult, ControlCommand, ControlResult, PinPadCommand, SetAttribute,
        TransmitRequest,
    },
};

/// Prints all fields as they are but the secret ones, which are before the semicolon if there are several.
macro_rules! redact {
    ($message:ident { $secret:ident $(, $field:ident)* }) => {
        redact!($message { $secret; $($field),* });
    };
    ($message:ident { $($secret:ident),+; $($field:ident),* }) => {
        impl fmt::Debug for $message {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .debug_struct(stringify!($message))
                    $(.field(stringify!($secret), &format_args!("[redacted]")))+
                    $(.field(stringify!($field), &self.$field))*
                    .finish()
            }
        }
    };
}

redact!(ApduCommand { bytes, raw, continue_class, continue_instruction, allow_last_try, allow_known_wrong });
redact!(ApduResult { data, status_word, status_word_source, get_response_count });
redact!(AttributeResult { value });
redact!(CommandEvent {
    command, response; index, is_continuation, command_class, header, expected_length, application, status_word,
    failed, duration, is_masked
});
redact!(ControlCommand { data, code });
redact!(ControlResult { data });
redact!(PinPadCommand {
    template,
    operation,
    encoding,
    pin_offset,
    pin_block_length,
    min_digits,
    max_digits,
    key_timeout
});
redact!(SetAttribute { value, tag });
redact!(TransmitRequest { request_id, reader, commands, turn, disposition });

#[cfg(test)]
mod tests {
    use crate::v1::{
        ApduCommand, ApduResult, Command, CommandResult, TransmitRequest, TransmitResponse, command::Action,
        command_result::Outcome,
    };

    #[test]
    fn no_byte_of_a_command_or_an_answer_is_printed() {
        let secret = b"\x00\x20\x00\x80\x08 1234567".to_vec();
        let apdu = ApduCommand { bytes: secret.clone(), ..ApduCommand::default() };
        let command = Command { action: Some(Action::Apdu(apdu)), ..Command::default() };
        let request = TransmitRequest { commands: vec![command], ..TransmitRequest::default() };
        let answer = ApduResult { data: secret, status_word: 0x9000, ..ApduResult::default() };
        let result = CommandResult { outcome: Some(Outcome::Apdu(answer)), card_duration: None };
        let response = TransmitResponse { results: vec![result], ..TransmitResponse::default() };
        for printed in [format!("{request:?}"), format!("{response:#?}")] {
            assert!(printed.contains("[redacted]"), "{printed}");
            assert!(!printed.contains("49, 50") && !printed.contains("1234"), "{printed}");
        }
    }
}
