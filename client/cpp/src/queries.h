// Calls without commands: the broker's description of itself and its readers.
#pragma once

#include <cardbroker/reader.h>

#include <chrono>
#include <string>

#include "cardbroker/v1/service.pb.h"

namespace cardbroker {

class Connection;

using EndTime = std::chrono::steady_clock::time_point;

// Each throws Error with NotSent. Each waits for the broker up to the connect timeout, then takes at most 10 s, and
// never lasts beyond `end`.
v1::GetBrokerResponse get_broker(Connection& connection, EndTime end = EndTime::max());
v1::ListReadersResponse list_readers(Connection& connection, EndTime end = EndTime::max());
v1::Reader get_reader(Connection& connection, const std::string& name, EndTime end = EndTime::max());

/// The resource name of a reader, `readers/{id}`. Lists all readers to resolve a display name.
///
/// Throws InvalidRequest, with all names, unless exactly one reader has that display name.
std::string resolve(Connection& connection, const ReaderName& reader, EndTime end = EndTime::max());

}  // namespace cardbroker
