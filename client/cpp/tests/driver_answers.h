// How the driver answers: what a piece of work brings, or the error that it throws, as one JSON object.
#pragma once

#include <functional>
#include <string>

#include "driver_messages.h"

namespace cardbroker::driver {

std::string ok(const std::string& json);

/// An error of this kind; `more`: further keys, each after a comma.
std::string failed(const char* kind, const Error& error, const std::string& more = "");

/// What a session shows of a unit.
v1::SessionTransmitted in_session(const v1::TransmitResponse& unit);

/// What the work brings, or what it throws, as an answer.
std::string answer(const std::function<std::string()>& work, bool is_session = false);

}  // namespace cardbroker::driver
