// Conversions between the library's public types and the contract's messages, which protobuf reads and writes as JSON.
#include "driver_messages.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <stdexcept>
#include <utility>

namespace cardbroker::driver {

namespace {

using google::protobuf::util::TimeUtil;
using std::chrono::nanoseconds;

/// Sets an option to a duration of the contract, if it is present.
template <typename Duration>
void set(std::optional<Duration>& option, bool is_present, const google::protobuf::Duration& wire) {
    if (is_present) option = std::chrono::duration_cast<Duration>(nanoseconds(TimeUtil::DurationToNanoseconds(wire)));
}

/// Converts a number to the type of the field for it.
template <typename Number>
void set(Number& field, std::int32_t wire) {
    field = static_cast<Number>(wire);
}

google::protobuf::Timestamp timestamp(std::chrono::system_clock::time_point time) {
    return TimeUtil::NanosecondsToTimestamp(std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()).count());
}

bool is_set(std::chrono::system_clock::time_point time) { return time != std::chrono::system_clock::time_point(); }

google::protobuf::Duration wire(nanoseconds duration) { return TimeUtil::NanosecondsToDuration(duration.count()); }

ApduBytes protect(const std::string& bytes) { return ApduBytes(bytes.data(), bytes.size()); }

template <typename Bytes>
std::string text(const Bytes& bytes) {
    return std::string(bytes.begin(), bytes.end());
}

Command action(const v1::Command& wire) {
    switch (wire.action_case()) {
        case v1::Command::kApdu: {
            const v1::ApduCommand& apdu = wire.apdu();
            ApduCommand command(protect(apdu.bytes()));
            command.raw = apdu.raw();
            if (apdu.has_continue_class()) command.continue_class = static_cast<std::uint8_t>(apdu.continue_class());
            command.continue_instruction = static_cast<std::uint8_t>(apdu.continue_instruction());
            command.allow_last_try = apdu.allow_last_try();
            command.allow_known_wrong = apdu.allow_known_wrong();
            return command;
        }
        case v1::Command::kControl:
            return ControlCommand{wire.control().code(), protect(wire.control().data())};
        case v1::Command::kGetAttribute:
            return GetAttribute{wire.get_attribute().tag()};
        case v1::Command::kSetAttribute:
            return SetAttribute{wire.set_attribute().tag(), protect(wire.set_attribute().value())};
        case v1::Command::kPinPad: {
            const v1::PinPadCommand& pad = wire.pin_pad();
            PinPadCommand command;
            command.apdu_template = protect(pad.template_());
            command.operation = static_cast<PinPadOperation>(pad.operation());
            command.encoding = static_cast<PinEncoding>(pad.encoding());
            set(command.pin_offset, pad.pin_offset());
            set(command.pin_block_length, pad.pin_block_length());
            set(command.min_digits, pad.min_digits());
            set(command.max_digits, pad.max_digits());
            set(command.key_timeout, pad.has_key_timeout(), pad.key_timeout());
            return command;
        }
        case v1::Command::ACTION_NOT_SET:
            break;
    }
    throw std::invalid_argument("a command without an action");
}

void set_turn(TurnOptions& options, const v1::TurnOptions& turn) {
    set(options.wait_timeout, turn.has_wait_timeout(), turn.wait_timeout());
    options.card = static_cast<CardRequirement>(turn.card());
    options.if_insertion_id = turn.if_insertion_id();
    options.if_state_tag = turn.if_state_tag();
    options.if_not_raised = turn.if_not_raised();
    options.reset_before = static_cast<CardReset>(turn.reset_before());
}

}  // namespace

std::vector<Command> commands(const google::protobuf::RepeatedPtrField<v1::Command>& wire) {
    std::vector<Command> commands;
    for (const v1::Command& given : wire) {
        Command& command = commands.emplace_back(action(given));
        for (const v1::StatusWordPattern& pattern : given.continue_on()) {
            StatusWordPattern& added = command.continue_on.emplace_back();
            added.value = static_cast<std::uint16_t>(pattern.value());
            if (pattern.has_mask()) added.mask = static_cast<std::uint16_t>(pattern.mask());
        }
        command.stop_rule = static_cast<StopRule>(given.stop_rule());
    }
    return commands;
}

TransmitOptions options(const v1::TransmitRequest& request) {
    TransmitOptions options;
    set_turn(options, request.turn());
    options.request_id.assign(request.request_id().begin(), request.request_id().end());
    options.disposition = static_cast<Disposition>(request.disposition());
    return options;
}

SessionOptions options(const v1::SessionOpen& open) {
    SessionOptions options;
    set_turn(options, open.turn());
    set(options.idle_timeout, open.has_idle_timeout(), open.idle_timeout());
    options.disposition = static_cast<Disposition>(open.disposition());
    return options;
}

v1::Reader message(const Reader& reader) {
    v1::Reader wire;
    wire.set_name(reader.name);
    wire.set_display_name(reader.display_name);
    wire.set_state(static_cast<v1::ReaderState>(reader.state));
    wire.set_atr(text(reader.atr));
    wire.set_active_protocol(static_cast<v1::CardProtocol>(reader.active_protocol));
    wire.set_insertion_id(reader.insertion_id);
    wire.set_insertion_count(reader.insertion_count);
    return wire;
}

v1::GetBrokerResponse message(const BrokerInfo& broker) {
    v1::GetBrokerResponse message;
    message.set_version(broker.version);
    message.set_epoch(broker.epoch);
    if (is_set(broker.start_time)) *message.mutable_start_time() = timestamp(broker.start_time);
    for (const std::string& capability : broker.capabilities) message.add_capabilities(capability);
    v1::BrokerLimits& limits = *message.mutable_limits();
    limits.set_max_message_bytes(broker.limits.max_message_bytes);
    limits.set_max_commands(broker.limits.max_commands);
    limits.set_max_session_messages(broker.limits.max_session_messages);
    limits.set_max_waiting_per_caller(broker.limits.max_waiting_per_caller);
    limits.set_max_waiting_per_reader(broker.limits.max_waiting_per_reader);
    limits.set_max_outcomes_per_user(broker.limits.max_outcomes_per_user);
    *limits.mutable_outcome_lifetime() = wire(broker.limits.outcome_lifetime);
    *limits.mutable_max_contended_lease() = wire(broker.limits.max_contended_lease);
    if (broker.limits.turn_quantum) *limits.mutable_turn_quantum() = wire(*broker.limits.turn_quantum);
    *limits.mutable_max_contended_unit() = wire(broker.limits.max_contended_unit);
    v1::CallerInfo& caller = *message.mutable_caller();
    caller.set_principal(broker.caller.principal);
    if (broker.caller.process_id) caller.set_process_id(*broker.caller.process_id);
    caller.set_connection(broker.caller.connection);
    caller.set_is_connection(broker.caller.is_connection);
    caller.set_group(broker.caller.group);
    return message;
}

v1::WaitingTurn message(const WaitingTurn& turn) {
    v1::WaitingTurn wire;
    wire.set_reader(turn.reader);
    wire.set_is_session(turn.is_session);
    wire.set_turns_ahead_count(turn.turns_ahead_count);
    if (is_set(turn.arrive_time)) *wire.mutable_arrive_time() = timestamp(turn.arrive_time);
    if (is_set(turn.deadline_time)) *wire.mutable_deadline_time() = timestamp(turn.deadline_time);
    if (turn.holder) {
        wire.mutable_holder()->set_is_own(turn.holder->is_own);
        wire.mutable_holder()->set_is_session(turn.holder->is_session);
        const auto begin = turn.holder->begin_time;
        if (is_set(begin)) *wire.mutable_holder()->mutable_begin_time() = timestamp(begin);
    }
    return wire;
}

v1::TransmitResponse message(const Transmitted& transmitted) {
    v1::TransmitResponse message;
    for (const CommandResult& result : transmitted.results) {
        v1::CommandResult& added = *message.add_results();
        set_outcome(result, added);
        *added.mutable_card_duration() = wire(result.card_duration);
    }
    message.set_insertion_id(transmitted.insertion_id);
    message.set_state_tag(transmitted.state_tag);
    *message.mutable_queue_duration() = wire(transmitted.queue_duration);
    *message.mutable_card_duration() = wire(transmitted.card_duration);
    message.set_was_reset(transmitted.was_reset);
    message.set_replayed(transmitted.replayed);
    return message;
}

v1::Failure message(const Failure& failure) {
    v1::Failure message;
    message.set_reason(static_cast<v1::ErrorReason>(failure.reason));
    message.set_delivery(static_cast<v1::Delivery>(failure.delivery));
    message.set_message(failure.message);
    message.set_code(static_cast<int>(failure.code));
    if (failure.retry_after) *message.mutable_retry_after() = wire(*failure.retry_after);
    message.set_rule(failure.rule);
    message.set_cause(static_cast<v1::RevocationCause>(failure.cause));
    for (const FieldViolation& violation : failure.field_violations) {
        v1::FieldViolation& added = *message.add_field_violations();
        added.set_field(violation.field);
        added.set_description(violation.description);
    }
    message.set_reader(failure.reader);
    if (failure.tries_left) message.set_tries_left(*failure.tries_left);
    return message;
}

v1::SessionOpened message(const Session& session) {
    v1::SessionOpened opened;
    opened.set_insertion_id(session.insertion_id());
    opened.set_state_tag(session.state_tag());
    opened.set_atr(text(session.atr()));
    *opened.mutable_queue_duration() = wire(session.queue_duration());
    opened.set_was_reset(session.was_reset());
    return opened;
}

std::string json(const google::protobuf::Message& message) {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    std::string text;
    const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
    if (!status.ok()) throw std::invalid_argument(status.ToString());
    return text;
}

void parse(const std::string& text, google::protobuf::Message& message) {
    const auto status = google::protobuf::util::JsonStringToMessage(text, &message);
    if (!status.ok()) throw std::invalid_argument(status.ToString());
}

void parse(const google::protobuf::Value& value, google::protobuf::Message& message) { parse(json(value), message); }

}  // namespace cardbroker::driver
