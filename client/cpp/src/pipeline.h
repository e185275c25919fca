// The unanswered messages of a session, and the decision which message restarts it after a failure. No I/O.
//
// A failure arrives late: the broker answers the messages sent before its arrival with PRECEDING_FAILED. Only a message
// of a caller that knew of every failure may set `restart`, because only that caller took the failures into account.
#pragma once

#include <cardbroker/session.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace cardbroker {

/// The outcome of a message; PrecedingFailed: it failed because a message before it had failed.
enum class Outcome { Done, Failed, PrecedingFailed };

class Pipeline {
public:
    struct Sent {
        std::int64_t id;
        bool restart;
    };

    /// The number of unanswered messages.
    std::size_t size() const noexcept { return unanswered_.size(); }

    /// Adds a message of a caller that knew of `known_failure_count` failures.
    Sent send(std::uint64_t known_failure_count, Restart restart = Restart::Automatic);

    /// Removes the oldest message, which an answer must belong to. Returns the failure count so far; empty if the
    /// answer belongs to another message.
    std::optional<std::uint64_t> answer(std::int64_t id, Outcome outcome);

private:
    struct Message {
        std::int64_t id;
        std::uint64_t restarted_count;
    };

    std::int64_t last_id_ = 0;
    std::deque<Message> unanswered_;
    /// The count of failures so far.
    std::uint64_t failure_count_ = 0;
    /// The failure count at the latest message with `restart`.
    std::uint64_t restarted_count_ = 0;
};

}  // namespace cardbroker
