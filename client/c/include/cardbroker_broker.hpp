// The broker's description of itself and of this program, for the C++ face of the C interface.
#pragma once

#include <cardbroker_convert.hpp>

namespace cardbroker {

/// The limits that apply to this program; cardbroker.h documents each at its number (CARDBROKER_LIMIT_…).
struct BrokerLimits {
    std::int32_t max_message_bytes = 0;
    std::int32_t max_commands = 0;
    std::int32_t max_session_messages = 0;
    std::int32_t max_waiting_per_caller = 0;
    std::int32_t max_waiting_per_reader = 0;
    std::int32_t max_outcomes_per_user = 0;
    std::chrono::nanoseconds outcome_lifetime{0};
    std::chrono::nanoseconds max_contended_lease{0};
    /// Without a value: one and a half times the duration of the reader's resets, at most 0.5 s.
    std::optional<std::chrono::nanoseconds> turn_quantum;
    std::chrono::nanoseconds max_contended_unit{0};
};

/// The identity of this program at the broker, on which its turns and its isolation depend.
struct CallerInfo {
    /// The user or the token: `user 1000`, `token build-7`. For people.
    std::string principal;
    /// The process id from the operating system; absent if the broker does not know it.
    std::optional<std::int32_t> process_id;
    /// The number of the connection, from 1 in each run of the broker.
    std::int64_t connection = 0;
    /// Whether the connection is the caller: other connections, even of this process, are other callers.
    bool is_connection = false;
    /// The number of the isolation group, from 1 in each run of the broker. 0: each call is a group of its own.
    std::int64_t group = 0;
};

/// The broker's description of itself and of its caller; made by Client::broker.
struct BrokerInfo {
    /// The broker's version (Semantic Versioning).
    std::string version;
    /// Identifies this run of the broker; a new value means a restart without the stored outcomes.
    std::string epoch;
    /// The start of this run; the clock's epoch if it is unknown.
    std::chrono::system_clock::time_point start_time;
    /// Words for the optional features of the contract that the broker has.
    std::vector<std::string> capabilities;
    BrokerLimits limits;
    CallerInfo caller;
};

namespace detail {

inline BrokerLimits limits(const cardbroker_broker* from) {
    const auto number = [from](int limit) { return static_cast<std::int32_t>(cardbroker_broker_limit(from, limit)); };
    const auto period = [from](int limit) { return std::chrono::nanoseconds(cardbroker_broker_limit(from, limit)); };
    BrokerLimits limits;
    limits.max_message_bytes = number(CARDBROKER_LIMIT_MESSAGE_BYTES);
    limits.max_commands = number(CARDBROKER_LIMIT_COMMANDS);
    limits.max_session_messages = number(CARDBROKER_LIMIT_SESSION_MESSAGES);
    limits.max_waiting_per_caller = number(CARDBROKER_LIMIT_WAITING_PER_CALLER);
    limits.max_waiting_per_reader = number(CARDBROKER_LIMIT_WAITING_PER_READER);
    limits.max_outcomes_per_user = number(CARDBROKER_LIMIT_OUTCOMES_PER_USER);
    limits.outcome_lifetime = period(CARDBROKER_LIMIT_OUTCOME_LIFETIME_NS);
    limits.max_contended_lease = period(CARDBROKER_LIMIT_CONTENDED_LEASE_NS);
    const auto quantum = period(CARDBROKER_LIMIT_TURN_QUANTUM_NS);
    if (quantum.count() >= 0) limits.turn_quantum = quantum;
    limits.max_contended_unit = period(CARDBROKER_LIMIT_CONTENDED_UNIT_NS);
    return limits;
}

inline BrokerInfo broker(const cardbroker_broker* from) {
    BrokerInfo broker;
    broker.version = text(cardbroker_broker_version(from));
    broker.epoch = text(cardbroker_broker_epoch(from));
    broker.start_time = moment(cardbroker_broker_start_time_ns(from));
    for (std::size_t index = 0; const char* word = cardbroker_broker_capability(from, index); ++index) {
        broker.capabilities.emplace_back(word);
    }
    broker.limits = limits(from);
    broker.caller.principal = text(cardbroker_broker_caller_principal(from));
    const std::int32_t process = cardbroker_broker_caller_process_id(from);
    if (process >= 0) broker.caller.process_id = process;
    broker.caller.connection = cardbroker_broker_caller_connection(from);
    broker.caller.is_connection = cardbroker_broker_caller_is_connection(from);
    broker.caller.group = cardbroker_broker_caller_group(from);
    return broker;
}

}  // namespace detail

}  // namespace cardbroker
