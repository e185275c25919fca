// Between the library's public types and the contract's messages, which protobuf reads from JSON and writes as JSON.
#pragma once

#include <cardbroker/cardbroker.h>
#include <google/protobuf/struct.pb.h>

#include <optional>
#include <string>
#include <vector>

#include "cardbroker/v1/service.pb.h"

namespace cardbroker::driver {

// Orders, as the library takes them.
std::vector<Command> commands(const google::protobuf::RepeatedPtrField<v1::Command>& wire);
TransmitOptions options(const v1::TransmitRequest& request);
SessionOptions options(const v1::SessionOpen& open);

// Answers, as the contract names them.
v1::Reader message(const Reader& reader);
v1::GetBrokerResponse message(const BrokerInfo& broker);
v1::WaitingTurn message(const WaitingTurn& turn);
v1::TransmitResponse message(const Transmitted& transmitted);
v1::Failure message(const Failure& failure);
v1::SessionOpened message(const Session& session);

std::string json(const google::protobuf::Message& message);

/// Throws std::invalid_argument for what is no such message.
void parse(const std::string& json, google::protobuf::Message& message);
void parse(const google::protobuf::Value& value, google::protobuf::Message& message);

}  // namespace cardbroker::driver
