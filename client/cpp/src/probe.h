// One attempt to connect to an endpoint, to learn why gRPC has no connection: gRPC tells it in prose only.
#pragma once

#include <cardbroker/endpoint.h>

#include <string>

#include "places.h"

namespace cardbroker {

/// The `HOST:PORT` of a TCP endpoint with an IP address. `localhost` is not resolved: another program may hold the port
/// at its other address.
std::string numeric_address(const Endpoint& endpoint);

/// Why gRPC has no connection to the endpoint. A program that answers a greeting of TLS counts as another one than the
/// broker: gRPC did not accept it. One that only closes the connection or is silent may be a broker that starts or
/// ends.
Finding probe(const Endpoint& endpoint);

}  // namespace cardbroker
