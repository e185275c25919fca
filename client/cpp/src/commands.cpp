// Conversions between commands, their results and the contract's messages.
#include <cardbroker/error.h>

#include <algorithm>
#include <utility>

#include "convert.h"
#include "errors.h"
#include "names.h"

namespace cardbroker {

namespace {

/// Writes the action of a command into its message.
struct Action {
    v1::Command& wire;

    void operator()(const ApduCommand& command) const {
        v1::ApduCommand& apdu = *wire.mutable_apdu();
        apdu.set_bytes(command.bytes.data(), command.bytes.size());
        apdu.set_raw(command.raw);
        if (command.continue_class) apdu.set_continue_class(*command.continue_class);
        apdu.set_continue_instruction(command.continue_instruction);
        apdu.set_allow_last_try(command.allow_last_try);
        apdu.set_allow_known_wrong(command.allow_known_wrong);
    }
    void operator()(const ControlCommand& command) const {
        wire.mutable_control()->set_code(command.code);
        wire.mutable_control()->set_data(command.data.data(), command.data.size());
    }
    void operator()(const GetAttribute& command) const { wire.mutable_get_attribute()->set_tag(command.tag); }
    void operator()(const SetAttribute& command) const {
        wire.mutable_set_attribute()->set_tag(command.tag);
        wire.mutable_set_attribute()->set_value(command.value.data(), command.value.size());
    }
    void operator()(const PinPadCommand& command) const {
        v1::PinPadCommand& pad = *wire.mutable_pin_pad();
        pad.set_template_(command.apdu_template.data(), command.apdu_template.size());
        pad.set_operation(static_cast<v1::PinPadOperation>(command.operation));
        pad.set_encoding(static_cast<v1::PinEncoding>(command.encoding));
        pad.set_pin_offset(command.pin_offset);
        pad.set_pin_block_length(command.pin_block_length);
        pad.set_min_digits(command.min_digits);
        pad.set_max_digits(command.max_digits);
        if (command.key_timeout) *pad.mutable_key_timeout() = cardbroker::to_wire(*command.key_timeout);
    }
};

/// Refuses an invalid length of an APDU or of data for a reader.
void check(const Command& command, int index) {
    const auto* apdu = std::get_if<ApduCommand>(&command.action);
    if (!apdu) return;
    const std::size_t least = apdu->raw ? 1 : names::min_apdu_bytes;
    const std::size_t most = apdu->raw ? names::max_raw_bytes : names::max_apdu_bytes;
    const std::size_t size = apdu->bytes.size();
    if (size >= least && size <= most) return;
    throw InvalidRequest("commands[" + std::to_string(index) + "].apdu.bytes",
                         "command " + std::to_string(index + 1) + ": " + std::to_string(size) +
                             " bytes: " + (apdu->raw ? "a raw command" : "an APDU") + " has " + std::to_string(least) +
                             " to " + std::to_string(most));
}

void to_wire(const Command& command, v1::Command& wire) {
    std::visit(Action{wire}, command.action);
    for (const StatusWordPattern& pattern : command.continue_on) {
        v1::StatusWordPattern& word = *wire.add_continue_on();
        word.set_value(pattern.value);
        if (pattern.mask) word.set_mask(*pattern.mask);
    }
    wire.set_stop_rule(static_cast<v1::StopRule>(command.stop_rule));
}

CommandResult from_wire(const v1::CommandResult& wire) {
    CommandResult result;
    result.card_duration = cardbroker::from_wire(wire.card_duration());
    const auto protect = [](const std::string& bytes) { return ApduBytes(bytes.data(), bytes.size()); };
    const auto status_word = [](std::int32_t word) {
        if (word < 0 || word > 0xFFFF) throw broken_contract("the broker sent a status word of more than 16 bits");
        return static_cast<std::uint16_t>(word);
    };
    switch (wire.outcome_case()) {
        case v1::CommandResult::kApdu:
            result.outcome = ApduResult{protect(wire.apdu().data()), status_word(wire.apdu().status_word()),
                                        static_cast<StatusWordSource>(wire.apdu().status_word_source()),
                                        wire.apdu().get_response_count()};
            break;
        case v1::CommandResult::kControl:
            result.outcome = ControlResult{protect(wire.control().data())};
            break;
        case v1::CommandResult::kAttribute:
            result.outcome = AttributeResult{protect(wire.attribute().value())};
            break;
        case v1::CommandResult::kPinPad:
            result.outcome = PinPadResult{status_word(wire.pin_pad().status_word())};
            break;
        case v1::CommandResult::OUTCOME_NOT_SET:
            break;
    }
    return result;
}

}  // namespace

Command Command::raw(ApduBytes bytes) {
    ApduCommand command(std::move(bytes));
    command.raw = true;
    return command;
}

const ApduBytes& CommandResult::data() const noexcept {
    static const ApduBytes none;
    if (const auto* apdu = std::get_if<ApduResult>(&outcome)) return apdu->data;
    if (const auto* control = std::get_if<ControlResult>(&outcome)) return control->data;
    if (const auto* attribute = std::get_if<AttributeResult>(&outcome)) return attribute->value;
    return none;
}

std::uint16_t CommandResult::status_word() const noexcept {
    if (const auto* apdu = std::get_if<ApduResult>(&outcome)) return apdu->status_word;
    if (const auto* pin_pad = std::get_if<PinPadResult>(&outcome)) return pin_pad->status_word;
    return 0;
}

void to_wire(const std::vector<Command>& commands, google::protobuf::RepeatedPtrField<v1::Command>& wire) {
    if (commands.empty() || commands.size() > names::max_commands) {
        throw InvalidRequest("commands", std::to_string(commands.size()) + " commands: a unit has 1 to " +
                                             std::to_string(names::max_commands));
    }
    for (const Command& command : commands) {
        check(command, wire.size());
        to_wire(command, *wire.Add());
    }
}

Transmitted from_wire(const v1::TransmitResponse& wire) {
    Transmitted transmitted;
    for (const v1::CommandResult& result : wire.results()) transmitted.results.push_back(from_wire(result));
    transmitted.insertion_id = wire.insertion_id();
    transmitted.state_tag = wire.state_tag();
    transmitted.queue_duration = from_wire(wire.queue_duration());
    transmitted.card_duration = from_wire(wire.card_duration());
    transmitted.was_reset = wire.was_reset();
    transmitted.replayed = wire.replayed();
    if (wire.has_stopped()) {
        const auto index = static_cast<std::size_t>(std::max(0, wire.stopped().index()));
        throw Stopped(from_wire(wire.stopped().failure()), index, std::move(transmitted));
    }
    return transmitted;
}

}  // namespace cardbroker
