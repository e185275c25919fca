// The contract's enums for C++. Generated from proto/cardbroker/v1 by a check of the repository.
#pragma once

#include <ostream>
#include <string>

namespace cardbroker {

/// The codes of gRPC, which every function returns that can fail.
enum class StatusCode : int {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(StatusCode value) {
    switch (value) {
        case StatusCode::Ok:
            return "OK";
        case StatusCode::Cancelled:
            return "CANCELLED";
        case StatusCode::Unknown:
            return "UNKNOWN";
        case StatusCode::InvalidArgument:
            return "INVALID_ARGUMENT";
        case StatusCode::DeadlineExceeded:
            return "DEADLINE_EXCEEDED";
        case StatusCode::NotFound:
            return "NOT_FOUND";
        case StatusCode::AlreadyExists:
            return "ALREADY_EXISTS";
        case StatusCode::PermissionDenied:
            return "PERMISSION_DENIED";
        case StatusCode::ResourceExhausted:
            return "RESOURCE_EXHAUSTED";
        case StatusCode::FailedPrecondition:
            return "FAILED_PRECONDITION";
        case StatusCode::Aborted:
            return "ABORTED";
        case StatusCode::OutOfRange:
            return "OUT_OF_RANGE";
        case StatusCode::Unimplemented:
            return "UNIMPLEMENTED";
        case StatusCode::Internal:
            return "INTERNAL";
        case StatusCode::Unavailable:
            return "UNAVAILABLE";
        case StatusCode::DataLoss:
            return "DATA_LOSS";
        case StatusCode::Unauthenticated:
            return "UNAUTHENTICATED";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, StatusCode value) { return out << to_string(value); }

/// The status words after which a unit goes on to its next command (ISO 7816-4 §5.6). May gain values.
enum class StopRule : int {
    /// The default: go on after 90 00, 91 00, 91 AF, 9F xx, 61 xx, 62 xx, and 63 xx except 63 00 and 63 Cx (a failed
    /// verification).
    Unspecified = 0,
    /// Like the default, and also after 91 xx and 92 0x: the normal endings of SIM and UICC cards (ETSI TS 102 221
    /// §10.2.1).
    Sim = 1,
    /// Go on after any status word.
    Any = 2,
    /// Go on after 90 00 only.
    Only9000 = 3,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(StopRule value) {
    switch (value) {
        case StopRule::Unspecified:
            return "UNSPECIFIED";
        case StopRule::Sim:
            return "SIM";
        case StopRule::Any:
            return "ANY";
        case StopRule::Only9000:
            return "ONLY_9000";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, StopRule value) { return out << to_string(value); }

/// The PINs that a PIN pad asks for. May gain values.
enum class PinPadOperation : int {
    /// Not valid.
    Unspecified = 0,
    /// The PIN (FEATURE_VERIFY_PIN_DIRECT).
    Verify = 1,
    /// The old and the new PIN (FEATURE_MODIFY_PIN_DIRECT).
    Modify = 2,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(PinPadOperation value) {
    switch (value) {
        case PinPadOperation::Unspecified:
            return "UNSPECIFIED";
        case PinPadOperation::Verify:
            return "VERIFY";
        case PinPadOperation::Modify:
            return "MODIFY";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, PinPadOperation value) { return out << to_string(value); }

/// The encoding of a PIN in a command. May gain values.
enum class PinEncoding : int {
    /// The default: the same as ASCII.
    Unspecified = 0,
    /// One byte a digit.
    Ascii = 1,
    /// Two digits a byte.
    Bcd = 2,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(PinEncoding value) {
    switch (value) {
        case PinEncoding::Unspecified:
            return "UNSPECIFIED";
        case PinEncoding::Ascii:
            return "ASCII";
        case PinEncoding::Bcd:
            return "BCD";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, PinEncoding value) { return out << to_string(value); }

/// The exchange that gave a status word. May gain values.
enum class StatusWordSource : int {
    /// Never sent.
    Unspecified = 0,
    /// The command as it was given.
    Command = 1,
    /// The command, sent once more with the Le that the card asked for with 6C xx.
    CorrectedCommand = 2,
    /// A GET RESPONSE after the command: `data` holds the data received so far.
    GetResponse = 3,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(StatusWordSource value) {
    switch (value) {
        case StatusWordSource::Unspecified:
            return "UNSPECIFIED";
        case StatusWordSource::Command:
            return "COMMAND";
        case StatusWordSource::CorrectedCommand:
            return "CORRECTED_COMMAND";
        case StatusWordSource::GetResponse:
            return "GET_RESPONSE";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, StatusWordSource value) { return out << to_string(value); }

/// Whether a command may have reached the card. May gain values: treat an unknown value, or a status without a delivery,
/// as UNKNOWN.
enum class Delivery : int {
    /// Never sent.
    Unspecified = 0,
    /// The command did not reach the card. Sending it again is safe.
    NotSent = 1,
    /// The command may have run. Check the card's state (for example, read the counter again) before you send it again.
    Unknown = 2,
    /// The command ran, and its answer is missing; the commands after it did not reach the card. Final: a repeat with the
    /// same `request_id` gets the same failure.
    Executed = 3,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(Delivery value) {
    switch (value) {
        case Delivery::Unspecified:
            return "UNSPECIFIED";
        case Delivery::NotSent:
            return "NOT_SENT";
        case Delivery::Unknown:
            return "UNKNOWN";
        case Delivery::Executed:
            return "EXECUTED";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, Delivery value) { return out << to_string(value); }

/// Why the broker has revoked a session. May gain values.
enum class RevocationCause : int {
    /// No cause: the failure is not a revocation.
    Unspecified = 0,
    /// The session idled for longer than `idle_timeout` while other requests waited.
    Idle = 1,
    /// The session held the card for longer than the bound that follows from `max_contended_lease` (see `BrokerLimits`),
    /// while callers of other groups waited.
    TooLong = 2,
    /// New rules of the policy deny the session.
    RulesChanged = 3,
    /// An operator has released the reader. Not sent yet.
    Released = 4,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(RevocationCause value) {
    switch (value) {
        case RevocationCause::Unspecified:
            return "UNSPECIFIED";
        case RevocationCause::Idle:
            return "IDLE";
        case RevocationCause::TooLong:
            return "TOO_LONG";
        case RevocationCause::RulesChanged:
            return "RULES_CHANGED";
        case RevocationCause::Released:
            return "RELEASED";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, RevocationCause value) { return out << to_string(value); }

/// The reasons, each with its gRPC code and the client's next step. May gain values.
/// 
/// The code follows from reason and delivery:
/// 
/// * DATA_LOSS whenever the delivery is UNKNOWN or EXECUTED, whatever the reason, and never otherwise. Never with a
/// RetryInfo: no library or proxy may send the commands again.
/// * Otherwise (NOT_SENT) the code given for the reason below. Those marked "retry" carry a RetryInfo and `retry_after`.
/// 
/// proto/conformance/codes.json holds the same table for programs.
enum class ErrorReason : int {
    /// Never sent.
    Unspecified = 0,
    /// INVALID_ARGUMENT. The request violates a rule of the contract; `field_violations` names the field, if there is one.
    /// Fix the request.
    InvalidRequest = 1,
    /// NOT_FOUND. There is no reader with this name, or the caller may not see it. List the readers.
    ReaderNotFound = 2,
    /// FAILED_PRECONDITION. The reader was unplugged. Wait for it with WatchReaders.
    ReaderGone = 3,
    /// FAILED_PRECONDITION. The configuration says `own = never` for this reader.
    ReaderNotOwned = 4,
    /// FAILED_PRECONDITION. The reader is empty. Insert a card, or send the request with `card = AWAITED`.
    NoCard = 5,
    /// FAILED_PRECONDITION. The card does not answer a reset. Remove it and insert it again.
    CardMute = 6,
    /// UNAVAILABLE, retry. Another program holds the card. Retry, or end that program.
    HeldElsewhere = 7,
    /// UNAVAILABLE, retry. A call of the reader's driver does not return. UNKNOWN for the command in flight.
    ReaderUnresponsive = 8,
    /// UNAVAILABLE, retry. The PC/SC service is down or restarting. UNKNOWN for the command in flight.
    PcscUnavailable = 9,
    /// DEADLINE_EXCEEDED. The turn did not come within `wait_timeout`, or not before the call's gRPC deadline. Send it
    /// again.
    QueueTimeout = 10,
    /// DEADLINE_EXCEEDED. The call's gRPC deadline was near before the unit began. UNKNOWN if it had begun: it goes on
    /// without the client; check the card's state, or repeat with the same `request_id`.
    DeadlineNear = 11,
    /// RESOURCE_EXHAUSTED, retry. The caller, its user (a quarter of the reader's places) or the reader has too many
    /// waiting requests, the user too many unfinished ones, or the connection too many open calls; or the request was not
    /// complete 10 s after it began.
    QueueFull = 12,
    /// ABORTED. The card is no longer in the insertion `if_insertion_id`. Start again from the new one.
    InsertionChanged = 13,
    /// ABORTED. Another caller has used the card, or it was reset, since `if_state_tag`: start again, or use one unit or a
    /// session. Or a caller's state is on the card, and `if_not_raised` is set: ask again later.
    StateChanged = 14,
    /// FAILED_PRECONDITION. The card was removed. UNKNOWN for the command in flight. Not retried automatically: the next
    /// card may be another person's.
    CardRemoved = 15,
    /// ABORTED. The exchange with the card failed although the card is present; it was reset and counts as a new
    /// insertion. UNKNOWN for the command in flight. Start the sequence again.
    CardLost = 16,
    /// ABORTED. Another program reset the card; the broker reset it again, and it counts as a new insertion. Start the
    /// sequence again.
    CardReset = 17,
    /// UNAVAILABLE, retry. The reset before the commands failed: `reset_before`, or the reset between isolation groups.
    ResetFailed = 18,
    /// INVALID_ARGUMENT. More than 255 data bytes cannot be sent to a T=0 card in one command. Use command chaining.
    UnsupportedLength = 19,
    /// FAILED_PRECONDITION. In `stopped`: the answers so far leave no room for the next one (1 MiB in total). EXECUTED if
    /// the command ran and its answer does not fit (also after 256 GET RESPONSEs). Request less in one unit. As a status,
    /// only of `cardbroker.diagnostics.v1`: the metrics of all readers do not fit.
    ResponseTooLarge = 20,
    /// FAILED_PRECONDITION, only in `stopped`. The status word of the command before does not let the unit go on. See
    /// `Command.stop_rule` and `Command.continue_on`.
    StatusWord = 21,
    /// ABORTED. The turn ended before the command was sent, for example because the broker stops. Send it again.
    LeaseEnded = 22,
    /// ABORTED. The broker has revoked the session; `cause` says why. Open a new one.
    LeaseRevoked = 23,
    /// ABORTED. An earlier message of the session failed, and no later message has set `restart`. Decide whether to go on,
    /// and send it again with `restart`.
    PrecedingFailed = 24,
    /// PERMISSION_DENIED. The broker's policy forbids it; `rule` names the rule.
    Denied = 25,
    /// FAILED_PRECONDITION. This card has already refused this PIN; sending it again would use up a try. Ask the user.
    PinKnownWrong = 26,
    /// FAILED_PRECONDITION. Only one try is left, and the broker guards it. Set `allow_last_try` to use it.
    PinLastTry = 27,
    /// RESOURCE_EXHAUSTED, retry. No more outcomes can be kept for `request_id`: all places or bytes are taken, or its
    /// user has the most outcomes that one may have, or holds a quarter of all bytes. With UNKNOWN (DATA_LOSS), for a
    /// repeat: the unit has run, and there was no room to keep its answers.
    OutcomesFull = 28,
    /// INVALID_ARGUMENT. This `request_id` was used for a different request. Take a new id.
    RequestIdReused = 29,
    /// UNAVAILABLE, retry. The broker is stopping.
    ShuttingDown = 30,
    /// UNIMPLEMENTED. This version of the broker does not implement the feature. `GetBroker` lists its features.
    NotImplemented = 31,
    /// INTERNAL. A defect of the broker. Please report it to the developers.
    Internal = 32,
    /// UNAUTHENTICATED. The credential is missing or invalid. Read the token file again.
    Unauthenticated = 33,
    /// RESOURCE_EXHAUSTED, retry. The user has sent too many requests that were refused. Not sent yet.
    OverBudget = 34,
    /// ABORTED, only in `stopped`. The unit used the card for longer than the configuration allows while callers of other
    /// groups waited. Its answers so far are kept: send the rest in another unit, or in a session.
    UnitTooLong = 35,
    /// EXECUTED, only in `stopped`. The command ran and the card dropped its answer before it could be fetched. Check the
    /// card's state.
    ResponseLost = 36,
    /// FAILED_PRECONDITION. The card supports none of the protocols that the reader's `preferred_protocols` allow. Change
    /// the configuration.
    ProtocolMismatch = 37,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(ErrorReason value) {
    switch (value) {
        case ErrorReason::Unspecified:
            return "UNSPECIFIED";
        case ErrorReason::InvalidRequest:
            return "INVALID_REQUEST";
        case ErrorReason::ReaderNotFound:
            return "READER_NOT_FOUND";
        case ErrorReason::ReaderGone:
            return "READER_GONE";
        case ErrorReason::ReaderNotOwned:
            return "READER_NOT_OWNED";
        case ErrorReason::NoCard:
            return "NO_CARD";
        case ErrorReason::CardMute:
            return "CARD_MUTE";
        case ErrorReason::HeldElsewhere:
            return "HELD_ELSEWHERE";
        case ErrorReason::ReaderUnresponsive:
            return "READER_UNRESPONSIVE";
        case ErrorReason::PcscUnavailable:
            return "PCSC_UNAVAILABLE";
        case ErrorReason::QueueTimeout:
            return "QUEUE_TIMEOUT";
        case ErrorReason::DeadlineNear:
            return "DEADLINE_NEAR";
        case ErrorReason::QueueFull:
            return "QUEUE_FULL";
        case ErrorReason::InsertionChanged:
            return "INSERTION_CHANGED";
        case ErrorReason::StateChanged:
            return "STATE_CHANGED";
        case ErrorReason::CardRemoved:
            return "CARD_REMOVED";
        case ErrorReason::CardLost:
            return "CARD_LOST";
        case ErrorReason::CardReset:
            return "CARD_RESET";
        case ErrorReason::ResetFailed:
            return "RESET_FAILED";
        case ErrorReason::UnsupportedLength:
            return "UNSUPPORTED_LENGTH";
        case ErrorReason::ResponseTooLarge:
            return "RESPONSE_TOO_LARGE";
        case ErrorReason::StatusWord:
            return "STATUS_WORD";
        case ErrorReason::LeaseEnded:
            return "LEASE_ENDED";
        case ErrorReason::LeaseRevoked:
            return "LEASE_REVOKED";
        case ErrorReason::PrecedingFailed:
            return "PRECEDING_FAILED";
        case ErrorReason::Denied:
            return "DENIED";
        case ErrorReason::PinKnownWrong:
            return "PIN_KNOWN_WRONG";
        case ErrorReason::PinLastTry:
            return "PIN_LAST_TRY";
        case ErrorReason::OutcomesFull:
            return "OUTCOMES_FULL";
        case ErrorReason::RequestIdReused:
            return "REQUEST_ID_REUSED";
        case ErrorReason::ShuttingDown:
            return "SHUTTING_DOWN";
        case ErrorReason::NotImplemented:
            return "NOT_IMPLEMENTED";
        case ErrorReason::Internal:
            return "INTERNAL";
        case ErrorReason::Unauthenticated:
            return "UNAUTHENTICATED";
        case ErrorReason::OverBudget:
            return "OVER_BUDGET";
        case ErrorReason::UnitTooLong:
            return "UNIT_TOO_LONG";
        case ErrorReason::ResponseLost:
            return "RESPONSE_LOST";
        case ErrorReason::ProtocolMismatch:
            return "PROTOCOL_MISMATCH";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, ErrorReason value) { return out << to_string(value); }

/// The state of a reader. May gain values: treat an unknown value as "not usable now".
enum class ReaderState : int {
    /// Never sent.
    Unspecified = 0,
    /// No card in the reader.
    Empty = 1,
    /// A card was detected; the broker is acquiring it and resets it once. Requests wait.
    Settling = 2,
    /// A card is present and usable. With `own = on_demand` the broker acquires it when a request arrives.
    Ready = 3,
    /// A card is present but does not answer a reset, not even three cold ones, or supports none of the protocols that the
    /// configuration allows. The failure of a request says which: CARD_MUTE or PROTOCOL_MISMATCH. In the second case `atr`
    /// is what the card has answered.
    Mute = 4,
    /// Another program has held the card for more than two seconds; the broker keeps trying.
    HeldElsewhere = 5,
    /// A call of the reader's driver has not returned: within the exchange timeout (2 min unless configured) for a
    /// command, within 15 s for acquiring, resetting or releasing the card. The reader recovers when the call returns.
    Unresponsive = 6,
    /// PC/SC does not serve the reader at the moment, for example because its service is restarting.
    Unavailable = 7,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(ReaderState value) {
    switch (value) {
        case ReaderState::Unspecified:
            return "UNSPECIFIED";
        case ReaderState::Empty:
            return "EMPTY";
        case ReaderState::Settling:
            return "SETTLING";
        case ReaderState::Ready:
            return "READY";
        case ReaderState::Mute:
            return "MUTE";
        case ReaderState::HeldElsewhere:
            return "HELD_ELSEWHERE";
        case ReaderState::Unresponsive:
            return "UNRESPONSIVE";
        case ReaderState::Unavailable:
            return "UNAVAILABLE";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, ReaderState value) { return out << to_string(value); }

/// A transmission protocol between reader and card. May gain values.
enum class CardProtocol : int {
    /// No protocol was negotiated.
    Unspecified = 0,
    /// T=0, byte-oriented (ISO 7816-3 §10).
    T0 = 1,
    /// T=1, block-oriented (ISO 7816-3 §11). Contactless cards report it too.
    T1 = 2,
    /// Raw: the reader passes bytes through.
    Raw = 3,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(CardProtocol value) {
    switch (value) {
        case CardProtocol::Unspecified:
            return "UNSPECIFIED";
        case CardProtocol::T0:
            return "T0";
        case CardProtocol::T1:
            return "T1";
        case CardProtocol::Raw:
            return "RAW";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, CardProtocol value) { return out << to_string(value); }

/// Whether a turn needs a card. May gain values.
enum class CardRequirement : int {
    /// The default: the same as REQUIRED.
    Unspecified = 0,
    /// Fail at once if there is no usable card.
    Required = 1,
    /// Wait for a usable card, within `wait_timeout`, also if the reader is empty or in another state in which the request
    /// would fail at once.
    Awaited = 2,
    /// Take the turn without a card, for actions that concern the reader only. Not implemented yet.
    NotNeeded = 3,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(CardRequirement value) {
    switch (value) {
        case CardRequirement::Unspecified:
            return "UNSPECIFIED";
        case CardRequirement::Required:
            return "REQUIRED";
        case CardRequirement::Awaited:
            return "AWAITED";
        case CardRequirement::NotNeeded:
            return "NOT_NEEDED";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, CardRequirement value) { return out << to_string(value); }

/// A reset of the card. May gain values.
enum class CardReset : int {
    /// The default: the same as NONE where a reset is optional; not valid in `SessionReset`.
    Unspecified = 0,
    /// None: the card is used as it is. The selected application may be that of an earlier caller.
    None = 1,
    /// A warm reset (ISO 7816-3 §6.2.3).
    Warm = 2,
    /// A cold reset: the card's power is cut (ISO 7816-3 §6.2.2).
    Cold = 3,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(CardReset value) {
    switch (value) {
        case CardReset::Unspecified:
            return "UNSPECIFIED";
        case CardReset::None:
            return "NONE";
        case CardReset::Warm:
            return "WARM";
        case CardReset::Cold:
            return "COLD";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, CardReset value) { return out << to_string(value); }

/// What happens to the card after a turn. May gain values.
enum class Disposition : int {
    /// The default: LEAVE after a unit, RESET after a session.
    Unspecified = 0,
    /// The card is left as it is, unless the next caller belongs to another isolation group. A session needs the
    /// permission `leave` for it.
    Leave = 1,
    /// The card is reset: warm, unless the reader's configuration (`isolation_reset`) says cold.
    Reset = 2,
    /// The card's power is cut, and it is reset (cold reset).
    Unpower = 3,
};

/// The short name in capitals; the number of an unknown value.
inline std::string to_string(Disposition value) {
    switch (value) {
        case Disposition::Unspecified:
            return "UNSPECIFIED";
        case Disposition::Leave:
            return "LEAVE";
        case Disposition::Reset:
            return "RESET";
        case Disposition::Unpower:
            return "UNPOWER";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, Disposition value) { return out << to_string(value); }

}  // namespace cardbroker
