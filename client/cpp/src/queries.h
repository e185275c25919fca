// Calls that carry no commands: what the broker says about itself and its readers.
#pragma once

#include <cardbroker/reader.h>

#include <chrono>
#include <string>

#include "cardbroker/v1/service.pb.h"

namespace cardbroker {

class Connection;

using EndTime = std::chrono::steady_clock::time_point;

// Each throws Error, not sent. Each waits for the broker up to the connect timeout, then takes 10 s at most, and is
// over at `end` in any case.
v1::GetBrokerResponse get_broker(Connection& connection, EndTime end = EndTime::max());
v1::ListReadersResponse list_readers(Connection& connection, EndTime end = EndTime::max());
v1::Reader get_reader(Connection& connection, const std::string& name, EndTime end = EndTime::max());

/// The name that goes to the broker, `readers/{id}`. Asks for the readers where a display name was given.
///
/// Throws InvalidRequest, with the names that there are, unless exactly one reader has that display name.
std::string resolve(Connection& connection, const ReaderName& reader, EndTime end = EndTime::max());

}  // namespace cardbroker
