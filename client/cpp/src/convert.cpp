// Conversions between the types of the public headers and the messages of the contract, except commands (commands.cpp).
#include "convert.h"

#include <cardbroker/error.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "names.h"

namespace cardbroker {

namespace {

constexpr std::int64_t nanoseconds_per_second = 1'000'000'000;
/// The longest duration: 285 years, which fit into 64 bits of nanoseconds.
constexpr std::int64_t max_seconds = 9'000'000'000;

auto fields(const Reader& reader) {
    return std::tie(reader.name, reader.display_name, reader.state, reader.atr, reader.active_protocol,
                    reader.insertion_id, reader.insertion_count);
}

Nanoseconds nanoseconds(std::int64_t seconds, std::int32_t nanos) {
    return std::chrono::seconds(std::clamp(seconds, -max_seconds, max_seconds)) + Nanoseconds(nanos);
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

BrokerInfo from_wire(const v1::GetBrokerResponse& wire) {
    BrokerInfo broker;
    broker.version = wire.version();
    broker.epoch = wire.epoch();
    broker.start_time = from_wire(wire.start_time());
    broker.capabilities.assign(wire.capabilities().begin(), wire.capabilities().end());
    const v1::BrokerLimits& limits = wire.limits();
    broker.limits.max_message_bytes = limits.max_message_bytes();
    broker.limits.max_commands = limits.max_commands();
    broker.limits.max_session_messages = limits.max_session_messages();
    broker.limits.max_waiting_per_caller = limits.max_waiting_per_caller();
    broker.limits.max_waiting_per_reader = limits.max_waiting_per_reader();
    broker.limits.max_outcomes_per_user = limits.max_outcomes_per_user();
    broker.limits.outcome_lifetime = from_wire(limits.outcome_lifetime());
    broker.limits.max_contended_lease = from_wire(limits.max_contended_lease());
    if (limits.has_turn_quantum()) broker.limits.turn_quantum = from_wire(limits.turn_quantum());
    broker.limits.max_contended_unit = from_wire(limits.max_contended_unit());
    const v1::CallerInfo& caller = wire.caller();
    broker.caller.principal = caller.principal();
    if (caller.has_process_id()) broker.caller.process_id = caller.process_id();
    broker.caller.connection = caller.connection();
    broker.caller.is_connection = caller.is_connection();
    broker.caller.group = caller.group();
    return broker;
}

WaitingTurn from_wire(const v1::WaitingTurn& wire) {
    WaitingTurn turn;
    turn.reader = wire.reader();
    turn.is_session = wire.is_session();
    turn.turns_ahead_count = wire.turns_ahead_count();
    turn.arrive_time = from_wire(wire.arrive_time());
    turn.deadline_time = from_wire(wire.deadline_time());
    if (wire.has_holder()) {
        const v1::TurnHolder& holder = wire.holder();
        turn.holder = TurnHolder{holder.is_own(), holder.is_session(), from_wire(holder.begin_time())};
    }
    return turn;
}

void check_length(const google::protobuf::Message& message) {
    if (message.ByteSizeLong() > names::max_message_bytes) {
        throw InvalidRequest("commands", "the commands together are longer than 1 MiB: send fewer in one unit");
    }
}

Failure from_wire(const v1::Failure& wire) {
    Failure failure;
    failure.reason = static_cast<ErrorReason>(wire.reason());
    if (failure.reason != ErrorReason::Unspecified) failure.reason_name = to_string(failure.reason);
    const bool is_known = wire.delivery() == v1::DELIVERY_NOT_SENT || wire.delivery() == v1::DELIVERY_EXECUTED;
    failure.delivery = is_known ? static_cast<Delivery>(wire.delivery()) : Delivery::Unknown;
    failure.message = wire.message();
    failure.code = wire.code() == 0 ? StatusCode::Unknown : static_cast<StatusCode>(wire.code());
    if (wire.has_retry_after()) failure.retry_after = from_wire(wire.retry_after());
    failure.rule = wire.rule();
    failure.cause = static_cast<RevocationCause>(wire.cause());
    for (const v1::FieldViolation& violation : wire.field_violations()) {
        failure.field_violations.push_back({violation.field(), violation.description()});
    }
    failure.reader = wire.reader();
    if (wire.has_tries_left()) failure.tries_left = wire.tries_left();
    return failure;
}

Nanoseconds from_wire(const google::protobuf::Duration& duration) {
    return nanoseconds(duration.seconds(), duration.nanos());
}

google::protobuf::Duration to_wire(Nanoseconds duration) {
    google::protobuf::Duration wire;
    wire.set_seconds(duration.count() / nanoseconds_per_second);
    wire.set_nanos(static_cast<std::int32_t>(duration.count() % nanoseconds_per_second));
    return wire;
}

std::chrono::system_clock::time_point from_wire(const google::protobuf::Timestamp& time) {
    using Clock = std::chrono::system_clock;
    return Clock::time_point(std::chrono::duration_cast<Clock::duration>(nanoseconds(time.seconds(), time.nanos())));
}

google::protobuf::Timestamp to_wire(std::chrono::system_clock::time_point time) {
    const google::protobuf::Duration since = to_wire(std::chrono::duration_cast<Nanoseconds>(time.time_since_epoch()));
    google::protobuf::Timestamp wire;
    wire.set_seconds(since.seconds());
    wire.set_nanos(since.nanos());
    return wire;
}

std::vector<std::uint8_t> bytes(const std::string& wire) { return {wire.begin(), wire.end()}; }

}  // namespace cardbroker
