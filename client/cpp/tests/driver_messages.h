// Conversions between the library's public types and the contract's messages, which protobuf reads and writes as JSON.
#pragma once

#include <google/protobuf/struct.pb.h>

#include <optional>
#include <string>
#include <vector>

#include "cardbroker/v1/service.pb.h"
#include "driver_client.h"

namespace cardbroker::driver {

// Converts orders of the kit to arguments of the library.
std::vector<Command> commands(const google::protobuf::RepeatedPtrField<v1::Command>& wire);
TransmitOptions options(const v1::TransmitRequest& request);
SessionOptions options(const v1::SessionOpen& open);

// Converts answers of the library to messages of the contract.
v1::Reader message(const Reader& reader);
v1::GetBrokerResponse message(const BrokerInfo& broker);
v1::WaitingTurn message(const WaitingTurn& turn);
v1::TransmitResponse message(const Transmitted& transmitted);
v1::Failure message(const Failure& failure);
v1::SessionOpened message(const Session& session);

std::string json(const google::protobuf::Message& message);

/// Throws std::invalid_argument for JSON that is no such message.
void parse(const std::string& json, google::protobuf::Message& message);
void parse(const google::protobuf::Value& value, google::protobuf::Message& message);

}  // namespace cardbroker::driver
