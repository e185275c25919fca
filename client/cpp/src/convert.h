// Between the types of the public headers and the messages of the contract.
#pragma once

#include <cardbroker/command.h>
#include <cardbroker/reader.h>
#include <cardbroker/response.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>

#include <chrono>
#include <vector>

#include "cardbroker/v1/reader.pb.h"
#include "cardbroker/v1/transmit.pb.h"

namespace cardbroker {

using Nanoseconds = std::chrono::nanoseconds;

Reader from_wire(const v1::Reader& reader);

/// The whole answer of a unit.
///
/// Throws Stopped if it is not whole.
Transmitted from_wire(const v1::TransmitResponse& response);

/// Throws Error, as the broker would refuse them, for no or too many commands and for one of a length that no APDU has.
void to_wire(const std::vector<Command>& commands, google::protobuf::RepeatedPtrField<v1::Command>& wire);

/// Refuses a message that is too long for the broker.
void check_length(const google::protobuf::Message& message);

Nanoseconds from_wire(const google::protobuf::Duration& duration);
google::protobuf::Duration to_wire(Nanoseconds duration);

std::vector<std::uint8_t> bytes(const std::string& wire);

}  // namespace cardbroker
