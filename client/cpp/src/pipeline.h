// Which messages of a session wait for their answer, and which one restarts it after a failure: no I/O.
//
// A failure is noticed late: messages that were sent before are answered PRECEDING_FAILED by the broker. Only a message
// of somebody who knew of every failure may say `restart`, for only that one was decided on in their light.
#pragma once

#include <cardbroker/session.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace cardbroker {

/// How an answer tells that its message failed; PrecedingFailed: not by itself, but because a message before it had
/// failed.
enum class Outcome { Done, Failed, PrecedingFailed };

class Pipeline {
public:
    struct Sent {
        std::int64_t id;
        bool restart;
    };

    /// How many messages are unanswered.
    std::size_t size() const noexcept { return unanswered_.size(); }

    /// Adds a message of somebody who knew of so many failures.
    Sent send(std::uint64_t known_failure_count, Restart restart = Restart::Automatic);

    /// Takes out the message that an answer belongs to. Returns the count of failures that the answer makes known;
    /// nothing if it is not this message's turn to be answered.
    std::optional<std::uint64_t> answer(std::int64_t id, Outcome outcome);

private:
    struct Message {
        std::int64_t id;
        std::uint64_t restarted_count;
    };

    std::int64_t last_id_ = 0;
    std::deque<Message> unanswered_;
    /// How many failures there were.
    std::uint64_t failure_count_ = 0;
    /// How many of them had been restarted from with the latest message.
    std::uint64_t restarted_count_ = 0;
};

}  // namespace cardbroker
