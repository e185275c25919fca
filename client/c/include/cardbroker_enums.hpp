// The contract's enums for C++; cardbroker.h documents their values. Generated from proto/cardbroker/v1.
#pragma once

#include <ostream>
#include <string>

namespace cardbroker {

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

enum class StopRule : int {
    Unspecified = 0,
    Sim = 1,
    Any = 2,
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

enum class PinPadOperation : int {
    Unspecified = 0,
    Verify = 1,
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

enum class PinEncoding : int {
    Unspecified = 0,
    Ascii = 1,
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

enum class StatusWordSource : int {
    Unspecified = 0,
    Command = 1,
    CorrectedCommand = 2,
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

enum class Delivery : int {
    Unspecified = 0,
    NotSent = 1,
    Unknown = 2,
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

enum class RevocationCause : int {
    Unspecified = 0,
    Idle = 1,
    TooLong = 2,
    RulesChanged = 3,
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

enum class ErrorReason : int {
    Unspecified = 0,
    InvalidRequest = 1,
    ReaderNotFound = 2,
    ReaderGone = 3,
    ReaderNotOwned = 4,
    NoCard = 5,
    CardMute = 6,
    HeldElsewhere = 7,
    ReaderUnresponsive = 8,
    PcscUnavailable = 9,
    QueueTimeout = 10,
    DeadlineNear = 11,
    QueueFull = 12,
    InsertionChanged = 13,
    StateChanged = 14,
    CardRemoved = 15,
    CardLost = 16,
    CardReset = 17,
    ResetFailed = 18,
    UnsupportedLength = 19,
    ResponseTooLarge = 20,
    StatusWord = 21,
    LeaseEnded = 22,
    LeaseRevoked = 23,
    PrecedingFailed = 24,
    Denied = 25,
    PinKnownWrong = 26,
    PinLastTry = 27,
    OutcomesFull = 28,
    RequestIdReused = 29,
    ShuttingDown = 30,
    NotImplemented = 31,
    Internal = 32,
    Unauthenticated = 33,
    OverBudget = 34,
    UnitTooLong = 35,
    ResponseLost = 36,
    ProtocolMismatch = 37,
    ConfigurationRefused = 38,
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
        case ErrorReason::ConfigurationRefused:
            return "CONFIGURATION_REFUSED";
    }
    return std::to_string(static_cast<int>(value));
}
inline std::ostream& operator<<(std::ostream& out, ErrorReason value) { return out << to_string(value); }

enum class ReaderState : int {
    Unspecified = 0,
    Empty = 1,
    Settling = 2,
    Ready = 3,
    Mute = 4,
    HeldElsewhere = 5,
    Unresponsive = 6,
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

enum class CardProtocol : int {
    Unspecified = 0,
    T0 = 1,
    T1 = 2,
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

enum class CardRequirement : int {
    Unspecified = 0,
    Required = 1,
    Awaited = 2,
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

enum class CardReset : int {
    Unspecified = 0,
    None = 1,
    Warm = 2,
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

enum class Disposition : int {
    Unspecified = 0,
    Leave = 1,
    Reset = 2,
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
