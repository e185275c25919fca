// A session's stream and its threads: sends what callers ask for, hands each one its answer, and never falls silent.
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

/// What a message was answered.
struct Reply {
    /// `transmitted` or `reset_done`, unless it failed.
    v1::OpenSessionResponse response;
    std::exception_ptr failure;
    /// How many failures whoever gets this reply then knows of.
    std::uint64_t failure_count = 0;
};

class Conversation {
public:
    /// Starts the stream and the threads. After so much silence of its own it sends a heartbeat; after so much silence
    /// of the broker the connection counts as lost, for it sends one every 30 s, too.
    ///
    /// Throws NotRunning.
    Conversation(Connection& connection, const v1::SessionOpen& open,
                 std::chrono::nanoseconds heartbeat_interval = std::chrono::seconds(30),
                 std::chrono::nanoseconds silence_limit = std::chrono::seconds(90));
    /// As `end`.
    ~Conversation();

    /// Waits until the session is open, and tells the places in the queue until then.
    ///
    /// Throws Error, not sent, if it does not open within `limit`.
    void await_opened(std::chrono::nanoseconds limit, const std::function<void(std::int32_t)>& on_queue_position);

    /// Sends a message, whose id and `restart` are filled in, as soon as there is room for it.
    std::future<Reply> send(v1::OpenSessionRequest& message, Restart restart);

    /// Half-closes and waits for the end of what was sent, and then of the stream.
    ///
    /// Throws Error if it ended otherwise than asked for.
    void close();

    /// Breaks the stream, which ends the threads and all that waits.
    void abort() noexcept {
        aborted_ = true;
        context_.TryCancel();
    }

    /// Breaks the stream and waits for the threads.
    void end() noexcept;

    /// Says that the caller of a reply knows it now.
    void learn(std::uint64_t failure_count);

    /// Only after `await_opened`.
    const v1::SessionOpened& opened() const noexcept { return *opened_; }
    std::int32_t waiters() const;
    bool is_open() const;

private:
    using Stream = grpc::ClientReaderWriter<v1::OpenSessionRequest, v1::OpenSessionResponse>;

    /// A thread: reads until the stream's end.
    void read();
    /// A thread: sends a heartbeat after each interval without a message, and breaks the stream of a broker that has
    /// fallen silent.
    void keep_alive();
    /// What ended the stream: for the calls on their way, and for those that come later.
    std::pair<std::exception_ptr, std::exception_ptr> why_ended(const grpc::Status& status,
                                                                const std::exception_ptr& broken) const;
    /// Takes one message. Throws Error for what the contract does not allow.
    void take(v1::OpenSessionResponse& message);
    void answer(std::int64_t id, Outcome outcome, Reply reply);
    /// Writes without the lock; the caller has seen that nobody else does.
    void write(std::unique_lock<std::mutex>& lock, const std::function<bool(Stream&)>& writing);

    const std::chrono::nanoseconds heartbeat_interval_;
    const std::chrono::nanoseconds silence_limit_;
    /// Whether this program has broken the stream.
    std::atomic<bool> aborted_{false};
    grpc::ClientContext context_;
    std::shared_ptr<grpc::Channel> channel_;
    std::unique_ptr<Stream> stream_;

    /// Guards all below, and is never held during I/O.
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool writing_ = false;
    std::chrono::steady_clock::time_point last_write_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point last_heard_ = std::chrono::steady_clock::now();
    bool silent_ = false;
    bool closing_ = false;
    bool ended_ = false;
    /// What calls are told that come after the end; nothing if it came as asked for.
    std::exception_ptr ended_by_;
    std::optional<std::int32_t> queue_position_;
    /// Set once, before `await_opened` returns.
    std::optional<v1::SessionOpened> opened_;
    std::int32_t waiters_ = 0;
    Pipeline pipeline_;
    /// Those who wait for the pipeline's messages, in the same order.
    std::deque<std::promise<Reply>> callers_;
    /// How many failures callers have been told of.
    std::uint64_t known_failure_count_ = 0;

    std::thread reader_;
    std::thread keeper_;
};

}  // namespace cardbroker
