// What a failure says: the same for a call, for a unit that ended early, and within a session.
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

/// The code's name: "NOT_FOUND"; of a code that there is not, the number.
std::string to_string(StatusCode code);
std::ostream& operator<<(std::ostream& out, StatusCode code);

/// A field of a request that breaks a rule of the contract.
struct FieldViolation {
    /// The field's path in the request: `commands[3].apdu.bytes`.
    std::string field;
    /// The rule that it breaks, for people.
    std::string description;
};

/// Everything that is known about a failure. Holds no APDU byte.
struct Failure {
    /// The broker's reason. Unspecified if the failure is not the broker's word. A reason that is newer than this
    /// client keeps its number.
    ErrorReason reason = ErrorReason::Unspecified;
    /// The reason's short name, "NO_CARD"; also where the broker told only a name, and one that this client does not
    /// know. Empty without a reason.
    std::string reason_name;
    /// Whether a command may have reached the card. NotSent: send it again as you like. Unknown: check the card's state
    /// first. Executed: the command ran, and its answer is lost. A delivery that is newer than this client is Unknown.
    Delivery delivery = Delivery::Unknown;
    /// What happened and what to do next, for people, in one line.
    std::string message;
    /// The gRPC code that the failure has, or would have as the status of a call.
    StatusCode code = StatusCode::Unknown;
    /// How long to wait before a retry; only where nothing was sent and waiting helps.
    std::optional<std::chrono::nanoseconds> retry_after;
    /// The rule of the broker's policy that forbids the request; empty if none does.
    std::string rule;
    /// Why the broker has ended the session; with ErrorReason::LeaseRevoked only.
    RevocationCause cause = RevocationCause::Unspecified;
    /// The fields of the request that break a rule of the contract.
    std::vector<FieldViolation> field_violations;
    /// The reader that is concerned, `readers/{id}`; empty if none is.
    std::string reader;
};

/// Whether the same request fails again however often it is repeated: the code is InvalidArgument, NotFound,
/// PermissionDenied, Unauthenticated or Unimplemented.
bool is_permanent(StatusCode code) noexcept;

}  // namespace cardbroker
