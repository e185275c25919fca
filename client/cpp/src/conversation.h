// A session's stream and its threads: sends the messages of callers, gives each caller its answer, and sends
// heartbeats.
//
// ```text
// opening ── opened ──▶ open ── half_close ──▶ closing ── status OK ──▶ ended
//    └──────────── any other status, or abort ────┴──────────────────▶ ended, with why
// ```
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "cardbroker/v1/service.grpc.pb.h"
#include "pipeline.h"

namespace cardbroker {

class Connection;

/// The answer to a message, or its failure.
struct Reply {
    /// `transmitted` or `reset_done`; unset after a failure.
    v1::OpenSessionResponse response;
    std::exception_ptr failure;
    /// The failure count that the receiver of this reply knows of.
    std::uint64_t failure_count = 0;
};

class Conversation {
public:
    /// Starts the stream and the threads. The first duration is the pause before a heartbeat, the second the silence of
    /// the broker after which the connection counts as lost; the broker sends a heartbeat every 30 s too.
    ///
    /// Throws NotRunning.
    Conversation(Connection& connection, const v1::SessionOpen& open,
                 std::chrono::nanoseconds heartbeat_interval = std::chrono::seconds(30),
                 std::chrono::nanoseconds silence_limit = std::chrono::seconds(90));
    /// Breaks the stream and waits for the threads, as `end`.
    ~Conversation();

    /// Waits until the session is open, and reports queue positions until then.
    ///
    /// Throws Error with NotSent if the session does not open within `limit`.
    void await_opened(std::chrono::nanoseconds limit, const std::function<void(std::int32_t)>& on_queue_position);

    /// Fills in the id and `restart` of a message and sends it as soon as fewer than 32 are unanswered.
    std::future<Reply> send(v1::OpenSessionRequest& message, Restart restart);

    /// Half-closes, waits for the answers to sent messages, and then for the end of the stream.
    ///
    /// Throws Error if the stream ended in another way.
    void close();

    /// Breaks the stream, which ends the threads and fails all waiters.
    void abort() noexcept {
        aborted_ = true;
        context_.TryCancel();
    }

    /// Breaks the stream and waits for the threads.
    void end() noexcept;

    /// Records that a caller has received its reply.
    void learn(std::uint64_t failure_count);

    /// The broker's first answer; valid only after `await_opened`.
    const v1::SessionOpened& opened() const noexcept { return *opened_; }
    std::int32_t waiters() const;
    bool is_open() const;

private:
    using Stream = grpc::ClientReaderWriter<v1::OpenSessionRequest, v1::OpenSessionResponse>;

    /// The reading thread: reads until the stream's end.
    void read();
    /// The heartbeat thread: sends a heartbeat after each interval without a message, and breaks the stream of a silent
    /// broker.
    void keep_alive();
    /// The failure at the end of the stream: for unanswered calls, and for later calls.
    std::pair<std::exception_ptr, std::exception_ptr> why_ended(const grpc::Status& status,
                                                                const std::exception_ptr& broken) const;
    /// Processes one message. Throws Error if it breaks the contract.
    void take(v1::OpenSessionResponse& message);
    void answer(std::int64_t id, Outcome outcome, Reply reply);
    /// Writes without the lock; the caller has made sure that no other thread writes.
    void write(std::unique_lock<std::mutex>& lock, const std::function<bool(Stream&)>& writing);

    const std::chrono::nanoseconds heartbeat_interval_;
    const std::chrono::nanoseconds silence_limit_;
    /// Whether this program broke the stream.
    std::atomic<bool> aborted_{false};
    grpc::ClientContext context_;
    std::shared_ptr<grpc::Channel> channel_;
    std::unique_ptr<Stream> stream_;

    /// Guards all members below; never held during I/O.
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool writing_ = false;
    std::chrono::steady_clock::time_point last_write_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point last_heard_ = std::chrono::steady_clock::now();
    bool silent_ = false;
    bool closing_ = false;
    bool ended_ = false;
    /// The failure of calls after the end; empty after an orderly end.
    std::exception_ptr ended_by_;
    std::optional<std::int32_t> queue_position_;
    /// The broker's first answer, set once before `await_opened` returns.
    std::optional<v1::SessionOpened> opened_;
    std::int32_t waiters_ = 0;
    Pipeline pipeline_;
    /// The waiters for the pipeline's messages, in the same order.
    std::deque<std::promise<Reply>> callers_;
    /// The count of failures that callers have received.
    std::uint64_t known_failure_count_ = 0;

    std::thread reader_;
    std::thread keeper_;
};

}  // namespace cardbroker
