// From the status of a call to the error that its caller gets.
#pragma once

#include <cardbroker/error.h>
#include <grpcpp/grpcpp.h>

#include <exception>
#include <string>

#include "cardbroker/v1/error.pb.h"

namespace cardbroker {

/// The failure of a call that carried commands: without the broker's word they may have run. A ConnectionLost where the
/// connection broke before that word came.
std::exception_ptr failure(const grpc::Status& status, const grpc::ClientContext& context);

/// The same failure, told to somebody whose commands did not leave this program.
std::exception_ptr not_sent(const std::exception_ptr& failure);

/// Without what only the derived types hold.
Error as_error(const std::exception_ptr& failure);

/// The failure of a call that carried no commands.
Error query_failure(const grpc::Status& status, const grpc::ClientContext& context);

/// The call outlived its deadline.
Error deadline_passed();

/// The broker said what the contract does not allow.
Error broken_contract(const std::string& message);

/// A request that breaks a rule of the contract, noticed before it was sent.
Error invalid(const std::string& message);

/// An in-band failure of a session.
Error in_band(v1::ErrorReason reason, v1::Delivery delivery, const std::string& message);

/// What the contract's numbers mean: none for a reason that is newer than this client, and Unknown for a delivery that
/// was not told.
std::optional<ErrorReason> reason_of(v1::ErrorReason reason);
Delivery delivery_of(v1::Delivery delivery);

}  // namespace cardbroker
