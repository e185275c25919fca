// From the status of a call to the error that its caller gets.
#pragma once

#include <cardbroker/error.h>
#include <grpcpp/grpcpp.h>

#include <exception>
#include <string>

namespace cardbroker {

/// The failure of a call that carried commands: without the broker's word they may have run. A ConnectionLost where the
/// connection broke before that word came.
std::exception_ptr failure(const grpc::Status& status, const grpc::ClientContext& context);

/// The same failure, told to a caller whose commands did not leave this program.
std::exception_ptr not_sent(const std::exception_ptr& failure);

/// Without what only the derived types hold.
Error as_error(const std::exception_ptr& failure);

/// The failure of a call that carried no commands: not sent, unless the broker says otherwise.
Error query_failure(const grpc::Status& status, const grpc::ClientContext& context);

/// The call outlived its deadline.
Error deadline_passed();

/// The broker said what the contract does not allow.
Error broken_contract(const std::string& message);

/// The connection broke before the broker's word came.
ConnectionLost connection_lost(const std::string& message);

/// Nobody answers at the endpoint, for this code.
NotRunning not_running(const std::string& message, StatusCode code = StatusCode::Unavailable);

/// A failure that this program made up.
Failure own_failure(const std::string& message, Delivery delivery, StatusCode code);

}  // namespace cardbroker
