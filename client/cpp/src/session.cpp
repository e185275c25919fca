// Sessions: the handle of a program, and its unanswered calls.
#include <cardbroker/client.h>
#include <cardbroker/error.h>
#include <cardbroker/session.h>

#include <utility>

#include "connection.h"
#include "conversation.h"
#include "convert.h"
#include "errors.h"
#include "queries.h"
#include "times.h"
#include "wipe.h"

namespace cardbroker {

/// A pending reply and its conversation.
struct Answer {
    std::shared_ptr<Conversation> conversation;
    std::future<Reply> reply;

    v1::OpenSessionResponse get() {
        Reply received = reply.get();
        conversation->learn(received.failure_count);
        if (received.failure) std::rethrow_exception(received.failure);
        return std::move(received.response);
    }
};

Session Client::open_session(const ReaderName& reader, const SessionOptions& options) const {
    v1::SessionOpen open;
    to_wire(options, open);
    const Nanoseconds wait = wait_time(options.wait_timeout);
    if (options.wait_timeout) *open.mutable_turn()->mutable_wait_timeout() = to_wire(wait);
    if (options.idle_timeout) *open.mutable_idle_timeout() = to_wire(*options.idle_timeout);
    open.set_disposition(static_cast<v1::Disposition>(options.disposition));
    open.set_reader(resolve(*connection_, reader));

    auto conversation = std::make_shared<Conversation>(*connection_, open);
    // A broker without an answer for longer is stuck.
    conversation->await_opened(with_card_time(wait), options.on_queue_position);
    return Session(std::move(conversation));
}

Session::Session(std::shared_ptr<Conversation> conversation)
    : conversation_(std::move(conversation)), atr_(bytes(conversation_->opened().atr())) {}

Session::Session(Session&&) noexcept = default;

Session& Session::operator=(Session&& other) noexcept {
    if (this != &other) {
        if (conversation_) conversation_->end();
        conversation_ = std::move(other.conversation_);
        atr_ = std::move(other.atr_);
    }
    return *this;
}

Session::~Session() {
    if (conversation_) conversation_->end();
}

Transmitted Session::transmit(const std::vector<Command>& commands, Restart restart) {
    return begin(commands, restart).get();
}

Pending Session::begin(const std::vector<Command>& commands, Restart restart) {
    v1::OpenSessionRequest message;
    const WipedAtEnd wiping(message);
    to_wire(commands, *message.mutable_transmit()->mutable_commands());
    // Checks the length with the longest id, because the real id is not known yet.
    message.mutable_transmit()->set_id(INT64_MAX);
    message.set_restart(true);
    check_length(message);
    return Pending(std::make_unique<Answer>(Answer{conversation_, conversation_->send(message, restart)}));
}

std::vector<std::uint8_t> Session::reset(CardReset reset, Restart restart) { return begin_reset(reset, restart).get(); }

PendingReset Session::begin_reset(CardReset reset, Restart restart) {
    v1::OpenSessionRequest message;
    message.mutable_reset()->set_reset(static_cast<v1::CardReset>(reset));
    return PendingReset(std::make_unique<Answer>(Answer{conversation_, conversation_->send(message, restart)}));
}

void Session::close() {
    try {
        conversation_->close();
    } catch (...) {
        conversation_->end();
        throw;
    }
    conversation_->end();
}

void Session::abort() noexcept { conversation_->abort(); }

std::int32_t Session::waiters() const { return conversation_->waiters(); }
bool Session::is_open() const { return conversation_->is_open(); }
const std::string& Session::insertion_id() const noexcept { return conversation_->opened().insertion_id(); }
const std::string& Session::state_tag() const noexcept { return conversation_->opened().state_tag(); }
const std::vector<std::uint8_t>& Session::atr() const noexcept { return atr_; }
Nanoseconds Session::queue_duration() const noexcept { return from_wire(conversation_->opened().queue_duration()); }
bool Session::was_reset() const noexcept { return conversation_->opened().was_reset(); }

Pending::Pending(std::unique_ptr<Answer> answer) : answer_(std::move(answer)) {}
Pending::Pending(Pending&&) noexcept = default;
Pending& Pending::operator=(Pending&&) noexcept = default;
Pending::~Pending() = default;

bool Pending::wait_for(Nanoseconds timeout) const {
    return answer_->reply.wait_for(timeout) == std::future_status::ready;
}

Transmitted Pending::get() {
    v1::OpenSessionResponse response = answer_->get();
    if (!response.has_transmitted()) throw broken_contract("the broker sent another answer than the request needs");
    v1::SessionTransmitted& transmitted = *response.mutable_transmitted();
    v1::TransmitResponse unit;
    const WipedAtEnd wiping(unit);
    unit.mutable_results()->Swap(transmitted.mutable_results());
    if (transmitted.has_stopped()) unit.mutable_stopped()->Swap(transmitted.mutable_stopped());
    unit.mutable_card_duration()->Swap(transmitted.mutable_card_duration());
    unit.set_insertion_id(answer_->conversation->opened().insertion_id());
    return from_wire(unit);
}

PendingReset::PendingReset(std::unique_ptr<Answer> answer) : answer_(std::move(answer)) {}
PendingReset::PendingReset(PendingReset&&) noexcept = default;
PendingReset& PendingReset::operator=(PendingReset&&) noexcept = default;
PendingReset::~PendingReset() = default;

bool PendingReset::wait_for(Nanoseconds timeout) const {
    return answer_->reply.wait_for(timeout) == std::future_status::ready;
}

std::vector<std::uint8_t> PendingReset::get() {
    const v1::OpenSessionResponse response = answer_->get();
    if (!response.has_reset_done()) throw broken_contract("the broker sent another answer than the request needs");
    return bytes(response.reset_done().atr());
}

}  // namespace cardbroker
