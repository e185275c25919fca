// The exceptions of this client: each has a delivery and most have a reason.
#pragma once

#include <cardbroker/enums.h>
#include <cardbroker/failure.h>
#include <cardbroker/response.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

namespace cardbroker {

/// A request that failed or ran in part. Its text contains no APDU byte.
class Error : public std::runtime_error {
public:
    explicit Error(Failure failure);

    /// All details of the failure. The functions below return its parts.
    const Failure& failure() const noexcept { return *failure_; }
    /// The broker's reason; Unspecified if the failure comes from elsewhere.
    ErrorReason reason() const noexcept { return failure_->reason; }
    /// Whether a command without an answer may have run; for a Stopped the command at `index()`.
    Delivery delivery() const noexcept { return failure_->delivery; }
    /// The gRPC status code, also for failures outside a status.
    StatusCode code() const noexcept { return failure_->code; }
    /// The pause before a retry; only if nothing was sent and a pause helps.
    std::optional<std::chrono::nanoseconds> retry_after() const noexcept { return failure_->retry_after; }
    /// The tries that the card has left for a PIN that the broker withholds; only if they are known.
    std::optional<int> tries_left() const noexcept { return failure_->tries_left; }
    /// Whether every repeat of the same request fails again.
    bool is_permanent() const noexcept { return cardbroker::is_permanent(failure_->code); }

    /// A copy with Delivery::NotSent, for a caller whose commands did not leave this program.
    Error not_sent() const;

protected:
    Error(const std::string& text, Failure failure);

private:
    /// Shared, because copying an exception must not fail.
    std::shared_ptr<const Failure> failure_;
};

/// No broker answers, or this user may not open its socket or cannot trust it. Nothing was sent.
class NotRunning final : public Error {
public:
    using Error::Error;
};

/// A request that this client refused before it sent anything.
class InvalidRequest final : public Error {
public:
    using Error::Error;
    /// `field`: the path of the field that breaks a rule of the contract.
    InvalidRequest(const std::string& field, const std::string& message);
};

/// The connection broke before an answer or a failure came from the broker.
class ConnectionLost final : public Error {
public:
    using Error::Error;
};

/// A unit that ended before its last command was answered.
class Stopped final : public Error {
public:
    Stopped(Failure failure, std::size_t index, Transmitted partial);

    /// The first command without a complete answer, counted from 0.
    std::size_t index() const noexcept { return index_; }
    /// The answers before the stop.
    const Transmitted& partial() const noexcept { return *partial_; }

private:
    std::size_t index_;
    /// Shared, because copying an exception must not fail.
    std::shared_ptr<const Transmitted> partial_;
};

}  // namespace cardbroker
