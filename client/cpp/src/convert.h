// Conversions between the types of the public headers and the messages of the contract.
#pragma once

#include <cardbroker/broker.h>
#include <cardbroker/command.h>
#include <cardbroker/failure.h>
#include <cardbroker/reader.h>
#include <cardbroker/response.h>
#include <cardbroker/turn.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include <chrono>
#include <vector>

#include "cardbroker/v1/broker.pb.h"
#include "cardbroker/v1/error.pb.h"
#include "cardbroker/v1/reader.pb.h"
#include "cardbroker/v1/transmit.pb.h"
#include "cardbroker/v1/turn.pb.h"

namespace cardbroker {

using Nanoseconds = std::chrono::nanoseconds;

Reader from_wire(const v1::Reader& reader);
BrokerInfo from_wire(const v1::GetBrokerResponse& broker);
WaitingTurn from_wire(const v1::WaitingTurn& turn);
/// A delivery that this client does not know counts as Unknown, a missing code as StatusCode::Unknown.
Failure from_wire(const v1::Failure& wire);

/// Converts the outcome of a unit.
///
/// Throws Stopped if the unit ended early.
Transmitted from_wire(const v1::TransmitResponse& response);

/// Throws InvalidRequest for no or too many commands and for an invalid length, which the broker would refuse too.
void to_wire(const std::vector<Command>& commands, google::protobuf::RepeatedPtrField<v1::Command>& wire);

/// Converts the terms except `wait_timeout`; adds no message if all are the defaults.
template <typename Request>
void to_wire(const TurnOptions& turn, Request& request) {
    if (turn.card != CardRequirement::Unspecified) {
        request.mutable_turn()->set_card(static_cast<v1::CardRequirement>(turn.card));
    }
    if (!turn.if_insertion_id.empty()) request.mutable_turn()->set_if_insertion_id(turn.if_insertion_id);
    if (!turn.if_state_tag.empty()) request.mutable_turn()->set_if_state_tag(turn.if_state_tag);
    if (turn.if_not_raised) request.mutable_turn()->set_if_not_raised(true);
    if (turn.reset_before != CardReset::Unspecified) {
        request.mutable_turn()->set_reset_before(static_cast<v1::CardReset>(turn.reset_before));
    }
}

/// Refuses a message that is too long for the broker.
void check_length(const google::protobuf::Message& message);

Nanoseconds from_wire(const google::protobuf::Duration& duration);
google::protobuf::Duration to_wire(Nanoseconds duration);
std::chrono::system_clock::time_point from_wire(const google::protobuf::Timestamp& time);
google::protobuf::Timestamp to_wire(std::chrono::system_clock::time_point time);

std::vector<std::uint8_t> bytes(const std::string& wire);

}  // namespace cardbroker
