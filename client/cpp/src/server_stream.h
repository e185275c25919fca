// A stream of messages from the broker on a completion queue of its owner, without a thread.
//
// ```text
// starting ── started ──▶ reading ─┐ messages
//    │                     │  ▲    │
//  failed    ended, cancelled └────┘
//    └─────▶ finishing ◀──┘
// ```
#pragma once

#include <cardbroker/error.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "errors.h"

namespace cardbroker {

/// One stream with one pending operation at any time; the operation's tag is the stream's address.
template <typename Message>
struct ServerStream {
    using Clock = std::chrono::system_clock;
    enum class Phase { Starting, Reading, Finishing };
    /// The meaning of a completed operation.
    enum class Step { Nothing, Received, Ended };

    /// The longest wait for the first message.
    static constexpr std::chrono::seconds open_timeout{10};
    /// The longest silence of a live broker: three default heartbeat intervals.
    static constexpr std::chrono::seconds silence_limit{90};

    grpc::ClientContext context;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<grpc::ClientAsyncReader<Message>> reader;
    Phase phase = Phase::Starting;
    Message message;
    grpc::Status status;
    /// The time at which the owner ends the stream unless a message has arrived.
    Clock::time_point limit = Clock::now() + open_timeout;
    bool heard = false;
    bool silent = false;

    /// Processes the completion of the pending operation. After a message the owner requests the next one.
    Step advance(bool ok) {
        if (phase == Phase::Finishing) return Step::Ended;
        if (!ok) {
            phase = Phase::Finishing;
            reader->Finish(&status, this);
            return Step::Nothing;
        }
        if (phase == Phase::Reading) {
            heard = true;
            limit = Clock::now() + silence_limit;
            return Step::Received;
        }
        phase = Phase::Reading;
        read_on();
        return Step::Nothing;
    }

    void read_on() { reader->Read(&message, this); }

    /// Ends a stream that has been silent for too long.
    void give_up() {
        silent = true;
        limit = Clock::now() + silence_limit;
        context.TryCancel();
    }

    /// The failure of the stream; valid only after Step::Ended.
    Error why_ended() const {
        if (silent) return connection_lost("the broker fell silent").not_sent();
        if (status.ok()) return connection_lost("the broker ended the watch").not_sent();
        return query_failure(status, context);
    }
};

/// The time after `timeout`, at most a year from now.
inline std::chrono::system_clock::time_point after(std::chrono::nanoseconds timeout) {
    using Clock = std::chrono::system_clock;
    const auto longest = std::clamp<std::chrono::nanoseconds>(timeout, timeout.zero(), std::chrono::hours(24 * 365));
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(longest);
}

}  // namespace cardbroker
