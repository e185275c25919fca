// Between the types of the public headers and the messages of the contract.
#include "convert.h"

#include <cardbroker/error.h>

#include <tuple>
#include <utility>

#include "failure.h"
#include "names.h"

namespace cardbroker {

namespace {

constexpr std::int64_t nanoseconds_per_second = 1'000'000'000;

CommandResult from_wire(const v1::CommandResult& wire) {
    CommandResult result;
    result.data = ApduBytes(wire.data().data(), wire.data().size());
    result.status_word = static_cast<std::uint16_t>(wire.status_word());
    result.status_word_source = static_cast<StatusWordSource>(wire.status_word_source());
    result.get_response_count = wire.get_response_count();
    return result;
}

auto fields(const Reader& reader) {
    return std::tie(reader.name, reader.display_name, reader.state, reader.atr, reader.active_protocol,
                    reader.insertion_id, reader.insertion_count);
}

}  // namespace

bool operator==(const Reader& left, const Reader& right) { return fields(left) == fields(right); }

Reader from_wire(const v1::Reader& wire) {
    Reader reader;
    reader.name = wire.name();
    reader.display_name = wire.display_name();
    reader.state = static_cast<ReaderState>(wire.state());
    reader.atr = bytes(wire.atr());
    reader.active_protocol = static_cast<CardProtocol>(wire.active_protocol());
    reader.insertion_id = wire.insertion_id();
    reader.insertion_count = wire.insertion_count();
    return reader;
}

Transmitted from_wire(const v1::TransmitResponse& wire) {
    Transmitted transmitted;
    for (const v1::CommandResult& result : wire.results()) transmitted.results.push_back(from_wire(result));
    transmitted.insertion_id = wire.insertion_id();
    transmitted.state_tag = wire.state_tag();
    transmitted.queue_duration = from_wire(wire.queue_duration());
    transmitted.card_duration = from_wire(wire.card_duration());
    transmitted.reset_before_unit = wire.reset_before_unit();
    transmitted.replayed = wire.replayed();
    if (wire.has_stopped()) {
        const v1::UnitStop& stop = wire.stopped();
        throw Stopped("stopped at command " + std::to_string(stop.index() + 1) + ": " + stop.message(),
                      delivery_of(stop.delivery()), reason_of(stop.reason()), stop.index(), std::move(transmitted));
    }
    return transmitted;
}

void to_wire(const std::vector<Command>& commands, google::protobuf::RepeatedPtrField<v1::Command>& wire) {
    if (commands.empty() || commands.size() > names::max_commands) {
        throw invalid(std::to_string(commands.size()) + " commands: a unit has 1 to " +
                      std::to_string(names::max_commands));
    }
    for (const Command& command : commands) {
        if (command.apdu.size() < names::min_apdu_bytes || command.apdu.size() > names::max_apdu_bytes) {
            throw invalid("command " + std::to_string(wire.size() + 1) + ": " + std::to_string(command.apdu.size()) +
                          " bytes: an APDU has " + std::to_string(names::min_apdu_bytes) + " to " +
                          std::to_string(names::max_apdu_bytes));
        }
        v1::Command& added = *wire.Add();
        added.set_apdu(command.apdu.data(), command.apdu.size());
        added.set_continue_instruction(command.continue_instruction);
        for (const StatusWordPattern& pattern : command.continue_on) {
            v1::StatusWordPattern& word = *added.add_continue_on();
            word.set_value(pattern.value);
            word.set_mask(pattern.mask);
        }
    }
}

void check_length(const google::protobuf::Message& message) {
    if (message.ByteSizeLong() > names::max_message_bytes) {
        throw invalid("the commands together are longer than 1 MiB: send fewer in one unit");
    }
}

Nanoseconds from_wire(const google::protobuf::Duration& duration) {
    return std::chrono::seconds(duration.seconds()) + Nanoseconds(duration.nanos());
}

google::protobuf::Duration to_wire(Nanoseconds duration) {
    google::protobuf::Duration wire;
    wire.set_seconds(duration.count() / nanoseconds_per_second);
    wire.set_nanos(static_cast<std::int32_t>(duration.count() % nanoseconds_per_second));
    return wire;
}

std::vector<std::uint8_t> bytes(const std::string& wire) { return {wire.begin(), wire.end()}; }

}  // namespace cardbroker
