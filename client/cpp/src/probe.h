// One attempt to connect to an endpoint, to learn why gRPC has no connection: gRPC tells it in prose only.
#pragma once

#include <cardbroker/endpoint.h>

#include <string>

#include "places.h"

namespace cardbroker {

/// The `HOST:PORT` of a TCP endpoint with an IP address. `localhost` is not resolved: another program may hold the port
/// at its other address.
std::string numeric_address(const Endpoint& endpoint);

/// Why there is no connection to the endpoint. A program that listens at a port with TLS counts as another one than the
/// broker, or as one that is starting or ending: gRPC does not tell them apart.
Finding probe(const Endpoint& endpoint);

}  // namespace cardbroker
