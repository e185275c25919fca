// Converts the status of a call to the error for its caller, and makes the client's own errors.
#pragma once

#include <cardbroker/error.h>
#include <grpcpp/grpcpp.h>

#include <exception>
#include <string>

namespace cardbroker {

/// The failure of a call with commands: without details of the broker they may have run. A ConnectionLost if the
/// connection broke before such details came.
std::exception_ptr failure(const grpc::Status& status, const grpc::ClientContext& context);

/// A copy with Delivery::NotSent, for a caller whose commands did not leave this program.
std::exception_ptr not_sent(const std::exception_ptr& failure);

/// Converts to the base class, without the members of derived classes.
Error as_error(const std::exception_ptr& failure);

/// The failure of a call without commands: NotSent, unless the broker reported another delivery.
Error query_failure(const grpc::Status& status, const grpc::ClientContext& context);

/// The failure for a deadline that passed during the call.
Error deadline_passed();

/// The failure for a broker that breaks the contract.
Error broken_contract(const std::string& message);

/// The failure for a lost connection.
ConnectionLost connection_lost(const std::string& message);

/// The failure for an endpoint without a broker, or without permission.
NotRunning not_running(const std::string& message, StatusCode code = StatusCode::Unavailable);

/// A failure that this client detected itself.
Failure own_failure(const std::string& message, Delivery delivery, StatusCode code);

}  // namespace cardbroker
