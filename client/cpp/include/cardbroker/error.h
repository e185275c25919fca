// What can go wrong, as types: every error says whether a command may have reached the card.
#pragma once

#include <cardbroker/enums.h>
#include <cardbroker/response.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

namespace cardbroker {

/// A request that did not do all that was asked. Holds no APDU byte in its text.
class Error : public std::runtime_error {
public:
    Error(const std::string& message, Delivery delivery, std::optional<ErrorReason> reason = std::nullopt,
          bool permanent = false)
        : std::runtime_error(message), delivery_(delivery), reason_(reason), permanent_(permanent) {}

    /// Whether a command may have run that has no answer: NotSent (repeat as you like) or Unknown (look at the card
    /// first). Of a Stopped it concerns the command at `index()`.
    Delivery delivery() const noexcept { return delivery_; }
    /// The broker's reason; none if the failure is not the broker's word, or newer than this client.
    std::optional<ErrorReason> reason() const noexcept { return reason_; }
    /// Whether the same request will fail again however often it is repeated.
    bool is_permanent() const noexcept { return permanent_; }

    /// The same failure, told to somebody whose commands did not leave this program.
    Error not_sent() const { return Error(what(), Delivery::NotSent, reason_, permanent_); }

private:
    Delivery delivery_;
    std::optional<ErrorReason> reason_;
    bool permanent_;
};

/// Nobody answers at the endpoint, or this user may not open it. Nothing was sent.
class NotRunning final : public Error {
public:
    explicit NotRunning(const std::string& endpoint) : Error("no broker answers at " + endpoint, Delivery::NotSent) {}
};

/// The connection broke before the broker's word came.
class ConnectionLost final : public Error {
public:
    explicit ConnectionLost(const std::string& message) : Error(message, Delivery::Unknown) {}
};

/// The unit ended before its last command was answered.
class Stopped final : public Error {
public:
    Stopped(const std::string& message, Delivery delivery, std::optional<ErrorReason> reason, std::size_t index,
            Transmitted partial)
        : Error(message, delivery, reason),
          index_(index),
          partial_(std::make_shared<const Transmitted>(std::move(partial))) {}

    /// The first command, counted from 0, that has no complete answer.
    std::size_t index() const noexcept { return index_; }
    /// What was answered until then.
    const Transmitted& partial() const noexcept { return *partial_; }

private:
    std::size_t index_;
    /// Shared, because copying an exception must not fail.
    std::shared_ptr<const Transmitted> partial_;
};

/// The short name of a reason, as the contract writes it: "NO_CARD".
std::string to_string(ErrorReason reason);
/// "not_sent" or "unknown".
std::string to_string(Delivery delivery);
/// The short name of a state: "READY".
std::string to_string(ReaderState state);

}  // namespace cardbroker
