// Calls that carry no commands: what the broker says about itself and its readers.
#pragma once

#include <cardbroker/reader.h>

#include <string>

#include "cardbroker/v1/service.pb.h"

namespace cardbroker {

class Connection;

// Each throws Error, not sent, and takes 10 s at most.
v1::GetBrokerResponse get_broker(Connection& connection);
v1::ListReadersResponse list_readers(Connection& connection);
v1::Reader get_reader(Connection& connection, const std::string& name);

/// The name that goes to the broker, `readers/{id}`. Asks for the readers where a display name was given.
///
/// Throws InvalidRequest, with the names that there are, unless exactly one reader has that display name.
std::string resolve(Connection& connection, const ReaderName& reader);

}  // namespace cardbroker
