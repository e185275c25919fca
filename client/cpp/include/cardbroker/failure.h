// The details of a failure, the same for a call, a stopped unit and a message of a session.
#pragma once

#include <cardbroker/enums.h>

#include <chrono>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace cardbroker {

/// The gRPC status codes (google.rpc.Code).
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
    /// A command may have run, or has run, and its answer is missing. Nothing else has this code.
    DataLoss = 15,
    Unauthenticated = 16,
};

/// The code's name: "NOT_FOUND"; the number of an unknown code.
std::string to_string(StatusCode code);
std::ostream& operator<<(std::ostream& out, StatusCode code);

/// A field of a request that breaks a rule of the contract.
struct FieldViolation {
    /// The field's path in the request: `commands[3].apdu.bytes`.
    std::string field;
    /// The broken rule, for people.
    std::string description;
};

/// The details of a failure, without any APDU byte.
struct Failure {
    /// The broker's reason; Unspecified if the failure comes from elsewhere. A reason newer than this client keeps its
    /// number.
    ErrorReason reason = ErrorReason::Unspecified;
    /// The reason's short name, "NO_CARD"; it is set even if this client does not know the reason. Empty without a
    /// reason.
    std::string reason_name;
    /// Whether a command may have reached the card. NotSent: a repeat is safe. Unknown: check the card's state before a
    /// repeat. Executed: the command ran and its answer is lost. A delivery newer than this client counts as Unknown.
    Delivery delivery = Delivery::Unknown;
    /// The problem and the next step, for people, in one line.
    std::string message;
    /// The gRPC status code, also for failures outside a status.
    StatusCode code = StatusCode::Unknown;
    /// The pause before a retry; only if nothing was sent and a pause helps.
    std::optional<std::chrono::nanoseconds> retry_after;
    /// The name of the policy rule that denies the request; empty if no rule does.
    std::string rule;
    /// The cause of the revocation; with ErrorReason::LeaseRevoked only.
    RevocationCause cause = RevocationCause::Unspecified;
    /// The fields of the request that break a rule of the contract.
    std::vector<FieldViolation> field_violations;
    /// The reader concerned, `readers/{id}`; empty if there is none.
    std::string reader;
    /// The number of tries that the card has left for the PIN, 1–255; only with ErrorReason::PinKnownWrong, if the card
    /// has reported a number, and ErrorReason::PinLastTry.
    std::optional<int> tries_left;
};

/// Whether every repeat of the same request fails again: for InvalidArgument, NotFound, PermissionDenied,
/// Unauthenticated and Unimplemented.
bool is_permanent(StatusCode code) noexcept;

}  // namespace cardbroker
