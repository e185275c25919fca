// The driver's answers: the result of an operation, or its error, as one JSON object.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "driver_messages.h"

namespace cardbroker::driver {

std::string ok(const std::string& json);

/// Formats an error of this kind; `more`: further keys, each after a comma.
std::string failed(const char* kind, const Error& error, const std::string& more = "");

/// The part of a unit's outcome that a session has.
v1::SessionTransmitted in_session(const v1::TransmitResponse& unit);

/// The answer to a reset, with the card's answer to reset.
v1::SessionResetDone reset_done(const std::vector<std::uint8_t>& atr);

/// Runs the operation; formats its result or its error.
std::string answer(const std::function<std::string()>& work, bool is_session = false);

}  // namespace cardbroker::driver
