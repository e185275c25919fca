// The broker's version, features and limits, and this program's caller identity.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cardbroker {

/// The limits that apply to this program.
struct BrokerLimits {
    /// The largest request, and the largest response, in bytes.
    std::int32_t max_message_bytes = 0;
    /// The largest number of commands in a unit.
    std::int32_t max_commands = 0;
    /// The largest number of unanswered messages in a session.
    std::int32_t max_session_messages = 0;
    /// The largest number of this program's requests that may wait at one reader.
    std::int32_t max_waiting_per_caller = 0;
    /// The largest number of requests of all callers that may wait at one reader.
    std::int32_t max_waiting_per_reader = 0;
    /// The largest number of outcomes that the broker stores for the user.
    std::int32_t max_outcomes_per_user = 0;
    /// The time for which the broker stores an outcome.
    std::chrono::nanoseconds outcome_lifetime{0};
    /// The longest lease of a session while callers of other groups wait.
    std::chrono::nanoseconds max_contended_lease{0};
    /// The longest visit: consecutive turns of one group where that saves a reset. Without a value: one and a half
    /// times the duration of the reader's resets, at most 0.5 s.
    std::optional<std::chrono::nanoseconds> turn_quantum;
    /// The longest time of a unit on the card while callers of other groups wait; less while several users wait.
    std::chrono::nanoseconds max_contended_unit{0};
};

/// The identity of this program at the broker, on which its turns and its isolation depend.
struct CallerInfo {
    /// The user or the token: `user 1000` (on Windows with the SID), `token build-7`. For people.
    std::string principal;
    /// The process id from the operating system; absent if it is unknown.
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
    /// The broker's version (Semantic Versioning): `0.1.0`.
    std::string version;
    /// Identifies this run of the broker; a new value means a restart without the stored outcomes.
    std::string epoch;
    /// The start time of this run.
    std::chrono::system_clock::time_point start_time;
    /// Features of the broker beyond this version of the contract.
    std::vector<std::string> capabilities;
    BrokerLimits limits;
    CallerInfo caller;
};

}  // namespace cardbroker
