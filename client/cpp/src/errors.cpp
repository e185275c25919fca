// Converts the status of a call to the error for its caller, and makes the client's own errors.
#include "errors.h"

#include <ostream>
#include <utility>

#include "status_details.h"

namespace cardbroker {

namespace {

/// The failure of a call that a library, a proxy or the transport ended, not the broker.
std::exception_ptr unexplained(const grpc::Status& status) {
    const std::string detail = " (" + status.error_message() + ')';
    const auto code = static_cast<StatusCode>(status.error_code());
    const auto told = [&](const std::string& text) { return own_failure(text + detail, Delivery::Unknown, code); };
    switch (code) {
        case StatusCode::DeadlineExceeded:
            return std::make_exception_ptr(deadline_passed());
        case StatusCode::Unimplemented: {
            const char* text = "the server at the endpoint is not cardbrokerd, or an older version";
            return std::make_exception_ptr(Error(own_failure(text, Delivery::Unknown, code)));
        }
        case StatusCode::Unavailable:
        case StatusCode::Unknown:
        case StatusCode::Internal:
        case StatusCode::Cancelled:
            return std::make_exception_ptr(ConnectionLost(told("the connection to the broker was lost")));
        default:
            return std::make_exception_ptr(Error(told("the call failed")));
    }
}

const std::string& text_of(const Failure& failure) {
    static const std::string nothing = "the request failed";
    if (!failure.message.empty()) return failure.message;
    return failure.reason_name.empty() ? nothing : failure.reason_name;
}

Failure invalid(const std::string& field, const std::string& message) {
    Failure failure = own_failure(message, Delivery::NotSent, StatusCode::InvalidArgument);
    failure.reason = ErrorReason::InvalidRequest;
    failure.reason_name = to_string(failure.reason);
    if (!field.empty()) failure.field_violations.push_back({field, message});
    return failure;
}

}  // namespace

Error::Error(Failure failure) : Error(text_of(failure), failure) {}
Error::Error(const std::string& text, Failure failure)
    : std::runtime_error(text), failure_(std::make_shared<const Failure>(std::move(failure))) {}

Error Error::not_sent() const {
    Failure failure = *failure_;
    failure.delivery = Delivery::NotSent;
    return Error(what(), std::move(failure));
}

InvalidRequest::InvalidRequest(const std::string& field, const std::string& message) : Error(invalid(field, message)) {}

Stopped::Stopped(Failure failure, std::size_t index, Transmitted partial)
    : Error("stopped at command " + std::to_string(index + 1) + ": " + text_of(failure), failure),
      index_(index),
      partial_(std::make_shared<const Transmitted>(std::move(partial))) {}

std::exception_ptr failure(const grpc::Status& status, const grpc::ClientContext& context) {
    auto reported = reported_failure(status, context);
    return reported ? std::make_exception_ptr(Error(std::move(*reported))) : unexplained(status);
}

std::exception_ptr not_sent(const std::exception_ptr& failure) {
    return std::make_exception_ptr(as_error(failure).not_sent());
}

Error as_error(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const Error& error) {
        return error;
    }
}

Error query_failure(const grpc::Status& status, const grpc::ClientContext& context) {
    auto reported = reported_failure(status, context);
    return reported ? Error(std::move(*reported)) : as_error(unexplained(status)).not_sent();
}

Error deadline_passed() {
    return Error(
        own_failure("the call's deadline passed without an answer", Delivery::Unknown, StatusCode::DeadlineExceeded));
}

Error broken_contract(const std::string& message) {
    return Error(own_failure(message, Delivery::Unknown, StatusCode::Internal));
}

ConnectionLost connection_lost(const std::string& message) {
    return ConnectionLost(own_failure(message, Delivery::Unknown, StatusCode::Unavailable));
}

NotRunning not_running(const std::string& message, StatusCode code) {
    return NotRunning(own_failure(message, Delivery::NotSent, code));
}

Failure own_failure(const std::string& message, Delivery delivery, StatusCode code) {
    Failure failure;
    failure.message = message;
    failure.delivery = delivery;
    failure.code = code;
    return failure;
}

bool is_permanent(StatusCode code) noexcept {
    return code == StatusCode::InvalidArgument || code == StatusCode::NotFound ||
           code == StatusCode::PermissionDenied || code == StatusCode::Unauthenticated ||
           code == StatusCode::Unimplemented;
}

std::string to_string(StatusCode code) {
    static constexpr const char* names[] = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    const int number = static_cast<int>(code);
    return number >= 0 && number <= static_cast<int>(StatusCode::Unauthenticated) ? names[number]
                                                                                  : std::to_string(number);
}

std::ostream& operator<<(std::ostream& out, StatusCode code) { return out << to_string(code); }

}  // namespace cardbroker
