// Wipes the APDU bytes of messages after a call, because protobuf frees them as they are.
#include "wipe.h"

#include <string.h>

#include <string>

namespace cardbroker {

namespace {

void wipe(std::string* bytes) noexcept {
    if (!bytes->empty()) cardbroker::wipe(bytes->data(), bytes->size());
}

void wipe(google::protobuf::RepeatedPtrField<v1::Command>& commands) noexcept {
    for (v1::Command& command : commands) {
        if (command.has_apdu()) wipe(command.mutable_apdu()->mutable_bytes());
        if (command.has_control()) wipe(command.mutable_control()->mutable_data());
        if (command.has_set_attribute()) wipe(command.mutable_set_attribute()->mutable_value());
        if (command.has_pin_pad()) wipe(command.mutable_pin_pad()->mutable_template_());
    }
}

}  // namespace

void wipe(void* bytes, std::size_t size) noexcept { explicit_bzero(bytes, size); }

void wipe(v1::TransmitRequest& request) noexcept { wipe(*request.mutable_commands()); }

void wipe(v1::TransmitResponse& response) noexcept {
    for (v1::CommandResult& result : *response.mutable_results()) {
        if (result.has_apdu()) wipe(result.mutable_apdu()->mutable_data());
        if (result.has_control()) wipe(result.mutable_control()->mutable_data());
        if (result.has_attribute()) wipe(result.mutable_attribute()->mutable_value());
    }
}

void wipe(v1::OpenSessionRequest& request) noexcept {
    if (request.has_transmit()) wipe(*request.mutable_transmit()->mutable_commands());
}

}  // namespace cardbroker
