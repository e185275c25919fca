//! The fields that the walk leaves out, each with the reason, and the few values that it cannot generate.

use prost_reflect::Value;

/// Fields without a case of their own: a client sets or reads them itself.
pub(super) const LEFT_OUT: &[(&str, &str)] = &[
    ("GetReaderResponse.reader", "it is the only field of the response: each case of Reader sets it"),
    ("ListReadersResponse.readers", "the same, see `reader`"),
    ("OpenSessionRequest.heartbeat", "a client sends it automatically: scenarios/heartbeats"),
    ("OpenSessionRequest.open", "the same as the op `open`, whose cases set it"),
    ("OpenSessionRequest.reset", "the same as the op `session_reset`, whose cases set it"),
    ("OpenSessionRequest.restart", "has an effect after a failure only: scenarios/sessions"),
    ("OpenSessionRequest.transmit", "the same as the op `session_transmit`, whose cases set it"),
    ("OpenSessionResponse.failed", "each case of a failure in band sets it"),
    ("OpenSessionResponse.heartbeat", "a client ignores it: scenarios/sessions"),
    ("OpenSessionResponse.opened", "each case of the op `open` sets it"),
    ("OpenSessionResponse.queue_position", "no op of the drivers shows it: scenarios/sessions"),
    ("OpenSessionResponse.reset_done", "each case of the op `session_reset` sets it"),
    ("OpenSessionResponse.transmitted", "each case of the op `session_transmit` sets it"),
    ("OpenSessionResponse.waiters", "no op of the drivers shows it: scenarios/sessions"),
    ("ReadersChange.removed_names", "shows as a reader that is missing: scenarios/watches"),
    ("ReadersChange.updated", "each case of Reader is sent in it"),
    ("ReadersSnapshot.readers", "each case of Reader is sent in it"),
    ("SessionFailed.failure", "each case of a failure in band sets it"),
    ("SessionFailed.id", "a client finds the message by it and does not show it"),
    ("SessionHeartbeat.send_time", "for people who read the wire"),
    ("SessionQueuePosition.turns_ahead_count", "no op of the drivers shows it: scenarios/sessions"),
    ("SessionReset.id", "a client numbers its messages automatically"),
    ("SessionResetDone.id", "a client finds the message by it and does not show it"),
    ("SessionTransmit.id", "a client numbers its messages automatically"),
    ("SessionTransmitted.id", "a client finds the message by it and does not show it"),
    ("SessionWaiters.caller_count", "no op of the drivers shows it: scenarios/sessions"),
    ("StatusDetails.code", "the same as the code of the status"),
    ("StatusDetails.details", "each case of a failure in a status sets it"),
    ("StatusDetails.message", "the same as the message of the status"),
    ("WatchHeartbeat.send_time", "for people who read the wire"),
    ("WatchReadersRequest.resume_token", "a client sets it automatically: scenarios/watches"),
    ("WatchReadersResponse.change", "each case of Reader is sent in it"),
    ("WatchReadersResponse.heartbeat", "a client ignores it: scenarios/watches"),
    ("WatchReadersResponse.resume_token", "a client returns it automatically: scenarios/watches"),
    ("WatchReadersResponse.snapshot", "each case of Reader is sent in it"),
    ("WatchTurnResponse.is_heartbeat", "a client ignores such a message: scenarios/watches"),
];

/// Fields whose presence with the default value is no case, because such a request violates the contract.
pub(super) const NEVER_DEFAULT: &[(&str, &str)] = &[("StatusWordPattern.mask", "0 is refused")];

/// Fields with a restricted range, with two valid values. For lists, the elements.
pub(super) fn values(field: &str) -> Option<[Value; 2]> {
    let bytes = |one: &'static [u8], other: &'static [u8]| Some([Value::Bytes(one.into()), Value::Bytes(other.into())]);
    let texts = |one: &str, other: &str| Some([Value::String(one.to_owned()), Value::String(other.to_owned())]);
    let numbers = |one, other| Some([Value::I32(one), Value::I32(other)]);
    match field {
        "ApduCommand.bytes" | "PinPadCommand.template" => {
            bytes(&[0x00, 0xA4, 0x04, 0x00, 0x02, 0xA0, 0x01, 0x00], &[0x80, 0xCA, 0x9F, 0x7F, 0x00])
        }
        "ApduCommand.continue_class" => numbers(0x81, 0xFF),
        "ApduCommand.continue_instruction" => numbers(0xA5, 0xC2),
        "ApduResult.status_word" | "PinPadResult.status_word" | "StatusWordPattern.value" => numbers(0x6A82, 0x63C2),
        // WARM and COLD: NONE is refused there.
        "SessionReset.reset" => Some([Value::EnumNumber(2), Value::EnumNumber(3)]),
        "StatusWordPattern.mask" => numbers(0xFFF0, 0xFF00),
        "TransmitRequest.request_id" => bytes(b"0123456789abcdef", b"fedcba9876543210"),
        "Failure.code" => numbers(9, 10),
        // After the commands that have a result.
        "UnitStop.index" => numbers(2, 1),
        "Reader.atr" | "SessionOpened.atr" | "SessionResetDone.atr" => {
            bytes(&[0x3B, 0x80, 0x80, 0x01, 0x01], &[0x3B, 0x00])
        }
        _ if field.ends_with(".reader") || field.ends_with("Request.name") || field == "Reader.name" => {
            texts("readers/walk-0", "readers/walk-1")
        }
        _ => None,
    }
}
