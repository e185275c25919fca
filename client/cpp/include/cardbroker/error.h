// What can go wrong, as types: every error says whether a command may have reached the card.
#pragma once

#include <cardbroker/enums.h>
#include <cardbroker/failure.h>
#include <cardbroker/response.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

namespace cardbroker {

/// A request that did not do all that was asked. Holds no APDU byte in its text.
class Error : public std::runtime_error {
public:
    explicit Error(Failure failure);

    /// Everything that is known about it. The functions below are its parts.
    const Failure& failure() const noexcept { return *failure_; }
    /// The broker's reason; Unspecified if the failure is not the broker's word.
    ErrorReason reason() const noexcept { return failure_->reason; }
    /// Whether a command may have run that has no answer. Of a Stopped it concerns the command at `index()`.
    Delivery delivery() const noexcept { return failure_->delivery; }
    /// The gRPC code that the failure has, or would have.
    StatusCode code() const noexcept { return failure_->code; }
    /// How long to wait before a retry; only where nothing was sent and waiting helps.
    std::optional<std::chrono::nanoseconds> retry_after() const noexcept { return failure_->retry_after; }
    /// Whether the same request fails again however often it is repeated.
    bool is_permanent() const noexcept { return cardbroker::is_permanent(failure_->code); }

    /// The same failure, told to a caller whose commands did not leave this program.
    Error not_sent() const;

protected:
    Error(const std::string& text, Failure failure);

private:
    /// Shared, because copying an exception must not fail.
    std::shared_ptr<const Failure> failure_;
};

/// Nobody answers at the endpoint, or this user may not open it. Nothing was sent.
class NotRunning final : public Error {
public:
    using Error::Error;
};

/// A request that this program refused before it sent anything: fix the request.
class InvalidRequest final : public Error {
public:
    using Error::Error;
    /// Names the field that breaks a rule, as a path in the request.
    InvalidRequest(const std::string& field, const std::string& message);
};

/// The connection broke before the broker's word came.
class ConnectionLost final : public Error {
public:
    using Error::Error;
};

/// The unit ended before its last command was answered.
class Stopped final : public Error {
public:
    Stopped(Failure failure, std::size_t index, Transmitted partial);

    /// The first command, counted from 0, that has no complete answer.
    std::size_t index() const noexcept { return index_; }
    /// What was answered until then.
    const Transmitted& partial() const noexcept { return *partial_; }

private:
    std::size_t index_;
    /// Shared, because copying an exception must not fail.
    std::shared_ptr<const Transmitted> partial_;
};

}  // namespace cardbroker
