// What the trailers of a failed call tell in the broker's own words.
#pragma once

#include <cardbroker/failure.h>
#include <grpcpp/grpcpp.h>

#include <optional>

namespace cardbroker {

/// The failure in the status's details; else what ErrorInfo, RetryInfo and BadRequest tell of it, and the plain
/// trailers where ErrorInfo is silent. Nothing if the status does not come from the broker.
std::optional<Failure> told_failure(const grpc::Status& status, const grpc::ClientContext& context);

}  // namespace cardbroker
