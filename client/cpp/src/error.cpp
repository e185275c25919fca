// From the status of a call to the error that its caller gets.
#include <cardbroker/error.h>

#include <optional>

#include "cardbroker/v1/reader.pb.h"
#include "failure.h"
#include "names.h"

namespace cardbroker {

namespace {

constexpr std::string_view reason_prefix = "ERROR_REASON_";
constexpr std::string_view state_prefix = "READER_STATE_";

/// The name without its prefix; of a value that is newer than this client, the number.
std::string short_name(const std::string& name, std::string_view prefix, int number) {
    return name.empty() ? std::to_string(number) : name.substr(prefix.size());
}

std::optional<std::string> trailer(const grpc::ClientContext& context, const char* name) {
    const auto& trailers = context.GetServerTrailingMetadata();
    const auto found = trailers.find(name);
    if (found == trailers.end()) return std::nullopt;
    return std::string(found->second.data(), found->second.size());
}

std::optional<ErrorReason> reason_named(const std::string& name) {
    v1::ErrorReason reason;
    if (!v1::ErrorReason_Parse(std::string(reason_prefix) + name, &reason)) return std::nullopt;
    return reason_of(reason);
}

bool is_permanent(grpc::StatusCode code) {
    return code == grpc::INVALID_ARGUMENT || code == grpc::PERMISSION_DENIED || code == grpc::UNAUTHENTICATED ||
           code == grpc::UNIMPLEMENTED;
}

bool is_permanent(std::optional<ErrorReason> reason) {
    switch (reason.value_or(ErrorReason::Unspecified)) {
        case ErrorReason::InvalidRequest:
        case ErrorReason::UnsupportedLength:
        case ErrorReason::RequestIdReused:
        case ErrorReason::Denied:
        case ErrorReason::Unauthenticated:
        case ErrorReason::NotImplemented:
            return true;
        default:
            return false;
    }
}

/// The failure of a call that the broker said nothing about.
std::exception_ptr unexplained(const grpc::Status& status) {
    const std::string detail = " (" + status.error_message() + ')';
    switch (status.error_code()) {
        case grpc::DEADLINE_EXCEEDED:
            return std::make_exception_ptr(deadline_passed());
        case grpc::UNIMPLEMENTED:
            // Comes before any handler.
            return std::make_exception_ptr(Error("what answers at the endpoint is no Cardbroker, or an older one",
                                                 Delivery::NotSent, std::nullopt, true));
        case grpc::UNAVAILABLE:
        case grpc::UNKNOWN:
        case grpc::INTERNAL:
            return std::make_exception_ptr(ConnectionLost("the connection to the broker was lost" + detail));
        case grpc::CANCELLED:
            return std::make_exception_ptr(Error("the call was cancelled" + detail, Delivery::Unknown));
        default:
            return std::make_exception_ptr(
                Error("the call failed" + detail, Delivery::Unknown, std::nullopt, is_permanent(status.error_code())));
    }
}

}  // namespace

std::exception_ptr failure(const grpc::Status& status, const grpc::ClientContext& context) {
    const auto reason = trailer(context, names::reason_trailer);
    const auto delivery = trailer(context, names::delivery_trailer);
    if (!reason && !delivery) return unexplained(status);
    return std::make_exception_ptr(
        Error(status.error_message(), delivery == "not_sent" ? Delivery::NotSent : Delivery::Unknown,
              reason ? reason_named(*reason) : std::nullopt, is_permanent(status.error_code())));
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
    return as_error(failure(status, context)).not_sent();
}

Error deadline_passed() { return Error("the call's deadline passed without an answer", Delivery::Unknown); }

Error broken_contract(const std::string& message) { return Error(message, Delivery::Unknown); }

Error invalid(const std::string& message) {
    return Error(message, Delivery::NotSent, ErrorReason::InvalidRequest, true);
}

Error in_band(v1::ErrorReason reason, v1::Delivery delivery, const std::string& message) {
    return Error(message, delivery_of(delivery), reason_of(reason), is_permanent(reason_of(reason)));
}

std::optional<ErrorReason> reason_of(v1::ErrorReason reason) {
    if (!v1::ErrorReason_IsValid(reason) || reason == v1::ERROR_REASON_UNSPECIFIED) return std::nullopt;
    return static_cast<ErrorReason>(reason);
}

Delivery delivery_of(v1::Delivery delivery) {
    return delivery == v1::DELIVERY_NOT_SENT ? Delivery::NotSent : Delivery::Unknown;
}

std::string to_string(ErrorReason reason) {
    const auto wire = static_cast<v1::ErrorReason>(reason);
    return short_name(v1::ErrorReason_Name(wire), reason_prefix, wire);
}

std::string to_string(Delivery delivery) { return delivery == Delivery::NotSent ? "not_sent" : "unknown"; }

std::string to_string(ReaderState state) {
    const auto wire = static_cast<v1::ReaderState>(state);
    return short_name(v1::ReaderState_Name(wire), state_prefix, wire);
}

}  // namespace cardbroker
