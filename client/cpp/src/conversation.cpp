// A session's stream and its threads: sends the messages of callers, gives each caller its answer, and sends
// heartbeats.
#include "conversation.h"

#include <algorithm>
#include <utility>

#include "connection.h"
#include "convert.h"
#include "errors.h"
#include "times.h"

namespace cardbroker {

namespace {

/// The largest number of unanswered messages in a session.
constexpr std::size_t max_pipelined = 32;

}  // namespace

Conversation::Conversation(Connection& connection, const v1::SessionOpen& open,
                           std::chrono::nanoseconds heartbeat_interval, std::chrono::nanoseconds silence_limit)
    : heartbeat_interval_(heartbeat_interval), silence_limit_(silence_limit) {
    const Line line = connection.connected();
    channel_ = line.channel;
    connection.sign(context_, line);
    last_heard_ = std::chrono::steady_clock::now();
    stream_ = Stub(channel_).OpenSession(&context_);
    v1::OpenSessionRequest message;
    *message.mutable_open() = open;
    // If the stream is already over, the reading thread reports it.
    stream_->Write(message);
    reader_ = std::thread(&Conversation::read, this);
    try {
        keeper_ = std::thread(&Conversation::keep_alive, this);
    } catch (...) {
        end();
        throw;
    }
}

Conversation::~Conversation() { end(); }

void Conversation::await_opened(std::chrono::nanoseconds limit,
                                const std::function<void(std::int32_t)>& on_queue_position) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    std::unique_lock lock(mutex_);
    for (;;) {
        const auto something = [&] { return opened_ || ended_ || queue_position_; };
        if (!changed_.wait_until(lock, deadline, something)) throw deadline_passed().not_sent();
        if (opened_) return;
        if (ended_) std::rethrow_exception(ended_by_);
        const std::int32_t position = *std::exchange(queue_position_, std::nullopt);
        if (!on_queue_position) continue;
        lock.unlock();
        on_queue_position(position);
        lock.lock();
    }
}

std::future<Reply> Conversation::send(v1::OpenSessionRequest& message, Restart restart) {
    std::unique_lock lock(mutex_);
    // The caller's knowledge at the start of the call counts, not its knowledge when there is room.
    const std::uint64_t known_failure_count = known_failure_count_;
    changed_.wait(lock, [&] { return ended_ || closing_ || (!writing_ && pipeline_.size() < max_pipelined); });
    if (ended_by_) std::rethrow_exception(ended_by_);
    if (closing_) throw Error(own_failure("the session was closed", Delivery::NotSent, StatusCode::FailedPrecondition));
    const Pipeline::Sent sent = pipeline_.send(known_failure_count, restart);
    message.set_restart(sent.restart);
    if (message.has_transmit()) message.mutable_transmit()->set_id(sent.id);
    if (message.has_reset()) message.mutable_reset()->set_id(sent.id);
    std::future<Reply> reply = callers_.emplace_back().get_future();
    write(lock, [&](Stream& stream) { return stream.Write(message); });
    return reply;
}

void Conversation::close() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || !writing_; });
    if (!ended_ && !std::exchange(closing_, true)) {
        write(lock, [](Stream& stream) { return stream.WritesDone(); });
    }
    changed_.wait(lock, [&] { return ended_ || callers_.empty(); });
    if (!changed_.wait_for(lock, card_time, [&] { return ended_; })) throw deadline_passed();
    if (ended_by_) std::rethrow_exception(ended_by_);
}

void Conversation::end() noexcept {
    abort();
    if (reader_.joinable()) reader_.join();
    if (keeper_.joinable()) keeper_.join();
}

void Conversation::learn(std::uint64_t failure_count) {
    const std::lock_guard lock(mutex_);
    known_failure_count_ = std::max(known_failure_count_, failure_count);
}

std::int32_t Conversation::waiters() const {
    const std::lock_guard lock(mutex_);
    return waiters_;
}

bool Conversation::is_open() const {
    const std::lock_guard lock(mutex_);
    return !ended_ && !closing_;
}

void Conversation::write(std::unique_lock<std::mutex>& lock, const std::function<bool(Stream&)>& writing) {
    writing_ = true;
    lock.unlock();
    writing(*stream_);
    lock.lock();
    writing_ = false;
    last_write_ = std::chrono::steady_clock::now();
    changed_.notify_all();
}

void Conversation::keep_alive() {
    std::unique_lock lock(mutex_);
    while (!ended_) {
        const auto now = std::chrono::steady_clock::now();
        const auto silent_at = last_heard_ + silence_limit_;
        const auto heartbeat_at = last_write_ + heartbeat_interval_;
        const bool may_write = !writing_ && !closing_;
        if (now >= silent_at) {
            silent_ = true;
            context_.TryCancel();
            changed_.wait(lock, [&] { return ended_; });
        } else if (!may_write || now < heartbeat_at) {
            const bool was_writing = writing_;
            changed_.wait_until(lock, may_write ? std::min(heartbeat_at, silent_at) : silent_at,
                                [&] { return ended_ || writing_ != was_writing; });
        } else {
            v1::OpenSessionRequest message;
            *message.mutable_heartbeat()->mutable_send_time() = to_wire(std::chrono::system_clock::now());
            write(lock, [&](Stream& stream) { return stream.Write(message); });
        }
    }
}

void Conversation::read() {
    v1::OpenSessionResponse message;
    std::exception_ptr broken;
    while (!broken && stream_->Read(&message)) {
        try {
            take(message);
        } catch (const Error&) {
            broken = std::current_exception();
            context_.TryCancel();
        }
    }
    std::unique_lock lock(mutex_);
    // A writer notices the end of the stream by itself.
    changed_.wait(lock, [&] { return !writing_; });
    writing_ = true;
    lock.unlock();
    const grpc::Status status = stream_->Finish();
    lock.lock();
    writing_ = false;

    const auto [unanswered, later] = why_ended(status, broken);
    for (std::promise<Reply>& caller : callers_) caller.set_value({{}, unanswered, 0});
    ended_by_ = later;
    callers_.clear();
    ended_ = true;
    changed_.notify_all();
}

std::pair<std::exception_ptr, std::exception_ptr> Conversation::why_ended(const grpc::Status& status,
                                                                          const std::exception_ptr& broken) const {
    // Written messages may have run, unless the broker reports another delivery; later messages do not leave this
    // program.
    const auto own = [](const std::exception_ptr& why) { return std::pair(why, not_sent(why)); };
    if (broken) return own(broken);
    if (silent_) return own(std::make_exception_ptr(connection_lost("the broker fell silent")));
    if (aborted_ && status.error_code() == grpc::StatusCode::CANCELLED) {
        const Failure aborted = own_failure("the session was aborted", Delivery::Unknown, StatusCode::Cancelled);
        return own(std::make_exception_ptr(Error(aborted)));
    }
    if (!status.ok()) {
        const auto reported = std::make_exception_ptr(query_failure(status, context_));
        return {failure(status, context_), opened_ ? not_sent(reported) : reported};
    }
    if (closing_ && callers_.empty()) return {};
    return own(std::make_exception_ptr(connection_lost("the broker ended the session")));
}

void Conversation::take(v1::OpenSessionResponse& message) {
    const std::lock_guard lock(mutex_);
    last_heard_ = std::chrono::steady_clock::now();
    const auto succeed = [&](std::int64_t id) { answer(id, Outcome::Done, {std::move(message), nullptr, 0}); };
    switch (message.response_case()) {
        case v1::OpenSessionResponse::kQueuePosition:
            queue_position_ = message.queue_position().turns_ahead_count();
            break;
        case v1::OpenSessionResponse::kOpened:
            if (!opened_) opened_ = message.opened();
            break;
        case v1::OpenSessionResponse::kWaiters:
            waiters_ = message.waiters().caller_count();
            break;
        case v1::OpenSessionResponse::kTransmitted:
            succeed(message.transmitted().id());
            break;
        case v1::OpenSessionResponse::kResetDone:
            succeed(message.reset_done().id());
            break;
        case v1::OpenSessionResponse::kFailed: {
            const v1::Failure& reported = message.failed().failure();
            const bool preceding = reported.reason() == v1::ERROR_REASON_PRECEDING_FAILED;
            answer(message.failed().id(), preceding ? Outcome::PrecedingFailed : Outcome::Failed,
                   {{}, std::make_exception_ptr(Error(from_wire(reported))), 0});
            break;
        }
        case v1::OpenSessionResponse::kHeartbeat:
        case v1::OpenSessionResponse::RESPONSE_NOT_SET:
            break;
    }
    changed_.notify_all();
}

void Conversation::answer(std::int64_t id, Outcome outcome, Reply reply) {
    const auto failure_count = pipeline_.answer(id, outcome);
    if (!failure_count) throw broken_contract("the broker answered out of order");
    reply.failure_count = *failure_count;
    callers_.front().set_value(std::move(reply));
    callers_.pop_front();
}

}  // namespace cardbroker
