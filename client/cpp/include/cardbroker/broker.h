// The broker itself: which one it is, what it can do, and how it sees this program.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cardbroker {

/// The limits that this program is under.
struct BrokerLimits {
    /// The most bytes of a request, and of a response.
    std::int32_t max_message_bytes = 0;
    /// The most commands of a unit.
    std::int32_t max_commands = 0;
    /// The most messages of a session that may be unanswered.
    std::int32_t max_session_messages = 0;
    /// The most requests of this program that may wait at one reader.
    std::int32_t max_waiting_per_caller = 0;
    /// The most requests of all programs that may wait at one reader.
    std::int32_t max_waiting_per_reader = 0;
    /// The most outcomes that are kept for the user under a request id.
    std::int32_t max_outcomes_per_user = 0;
    /// How long an outcome is kept.
    std::chrono::nanoseconds outcome_lifetime{0};
    /// How long a session may hold the card while others wait.
    std::chrono::nanoseconds max_contended_lease{0};
};

/// This program as the broker sees it: what its turns and its isolation depend on.
struct CallerInfo {
    /// Who is responsible: `user 1000`, `token build-7`. For people.
    std::string principal;
    /// The process, as the system has told it; none if it is not known or cannot be.
    std::optional<std::int32_t> process_id;
    /// The number of the connection, counted from 1 in this run of the broker.
    std::int64_t connection = 0;
    /// Whether the connection is the caller: calls of other connections are then another caller's.
    bool is_connection = false;
    /// The number of the isolation group, counted from 1 in this run of the broker. 0: each call is a group of its own.
    std::int64_t group = 0;
};

/// The broker, as told by Client::broker.
struct BrokerInfo {
    /// The broker's version (Semantic Versioning): `0.1.0`.
    std::string version;
    /// Names this run of the broker; a new one means that it was restarted and all kept outcomes are gone.
    std::string epoch;
    /// When this run began.
    std::chrono::system_clock::time_point start_time;
    /// What the broker can do beyond this edition of the contract.
    std::vector<std::string> capabilities;
    BrokerLimits limits;
    CallerInfo caller;
};

}  // namespace cardbroker
