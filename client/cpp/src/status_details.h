// Reads the broker's failure from the trailers of a call.
#pragma once

#include <cardbroker/failure.h>
#include <grpcpp/grpcpp.h>

#include <optional>

namespace cardbroker {

/// The failure in the status's details; else in ErrorInfo, RetryInfo and BadRequest, and in the plain trailers for
/// values that ErrorInfo lacks. Empty if the status does not come from the broker.
std::optional<Failure> reported_failure(const grpc::Status& status, const grpc::ClientContext& context);

}  // namespace cardbroker
