// The parts of the driver that its two clients do not share: the C++ client (driver_client.cpp), and the C++ face of
// the C interface (client/c/tests/driver_face.cpp).
#pragma once

#ifdef CARDBROKER_DRIVER_OF_C
#include <cardbroker.hpp>
#else
#include <cardbroker/cardbroker.h>
#endif

#include <string>

#include "cardbroker/v1/service.pb.h"

namespace cardbroker::driver {

class Order;

/// Makes a client for an endpoint, given as a text.
Client connect(const std::string& endpoint, ConnectOptions options);

/// Converts the answer to one command.
void set_outcome(const CommandResult& result, v1::CommandResult& wire);

/// Runs an operation that this client alone has; `session` is null if none is open.
///
/// Throws std::invalid_argument for an unknown operation.
std::string run_own(const std::string& operation, const Order& order, Session* session);

}  // namespace cardbroker::driver
