// Sessions: a card that belongs to this program for as long as the session's stream lives.
#pragma once

#include <cardbroker/command.h>
#include <cardbroker/response.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cardbroker {

class Client;
class Conversation;
struct Answer;

/// How a session is opened and what becomes of it.
struct SessionOptions {
    /// How long to wait for the turn, at most 24 h; zero means now or never.
    std::chrono::nanoseconds wait_timeout = std::chrono::seconds(30);
    /// Waits, as long as `wait_timeout`, for a usable card instead of failing without one.
    bool wait_for_card = false;
    /// Fails unless the card is still in this insertion (Reader::insertion_id). Empty: any.
    std::string if_insertion_id;
    /// Fails if anybody used or reset the card since (Transmitted::state_tag). Empty: any.
    std::string if_state_tag;
    /// Resets the card (warm) before the session.
    bool start_reset = false;
    /// How long the session may idle while others wait before the broker takes it away, 0.1 s–60 s. Default: 10 s.
    std::optional<std::chrono::nanoseconds> idle_timeout;
    /// Leaves the card as it is after Session::close, unless the next caller belongs to another isolation group.
    /// Otherwise the card is reset, as it always is after a session that was not closed.
    bool leave_at_end = false;
    /// Told how many turns come before this one, now and whenever that changes, in the thread that opens the session.
    /// An exception that it throws ends the wait.
    std::function<void(std::uint32_t)> on_queue_position;
};

/// Commands of a session that are on their way; made by Session::begin. Letting go of it does not take them back.
class Pending {
public:
    Pending(Pending&&) noexcept;
    Pending& operator=(Pending&&) noexcept;
    ~Pending();

    /// Whether `get` returns at once, after at most this time.
    bool wait_for(std::chrono::nanoseconds timeout) const;
    /// Waits for the answers, once; Session::abort ends the wait.
    ///
    /// Throws as Session::transmit.
    Transmitted get();

private:
    friend class Session;
    explicit Pending(std::unique_ptr<Answer> answer);
    std::unique_ptr<Answer> answer_;
};

/// A card that belongs to this program, made by Client::open_session: no other program's command reaches it.
///
/// **Order.** Calls may overlap, by `begin` or from several threads, and reach the card in the order in which they were
/// begun. At most 32 are on their way; further ones wait in this program.
///
/// **Failures.** A call that throws with `is_open()` still true leaves the session alive. What was sent behind it
/// before its failure was told fails as well, not sent (ErrorReason::PrecedingFailed); the first call after that goes
/// on. Stopped is no such failure: what was sent behind it runs.
///
/// **End.** `close` ends it in good order. A session that is destroyed ends at once, as a transaction without its
/// commit: commands that wait are not sent, the one in flight runs to its end, and the card is reset. So an exception
/// never leaves a half-used card behind, and the destructor never waits for the card.
class Session {
public:
    Session(Session&&) noexcept;
    Session& operator=(Session&&) noexcept;
    ~Session();

    /// Runs 1–64 commands in order up to the first stop. No other call's command falls between them.
    ///
    /// Throws Stopped if some commands were answered but not all, another Error if none was. After a loss of the
    /// connection the delivery of those that were on their way is unknown.
    Transmitted transmit(const std::vector<Command>& commands, Exchange exchange = Exchange::Completed);

    /// The same without waiting for the answers, but for room if 32 calls are on their way.
    Pending begin(const std::vector<Command>& commands, Exchange exchange = Exchange::Completed);

    /// Resets the card, by cutting its power if `cold`. Returns its new answer to reset.
    std::vector<std::uint8_t> reset(bool cold = false);

    /// Ends the session in good order: what was sent is answered, then the card is reset, or left as it is if that was
    /// asked for. Returns when the broker says that this is done, or throws Error if the session ended otherwise.
    void close();

    /// Ends the session at once; the calls that wait throw. From any thread.
    void abort() noexcept;

    /// How many callers wait for the card, as last told by the broker.
    std::uint32_t waiters() const;
    /// Whether calls can still succeed, as far as anyone can tell.
    bool is_open() const;

    /// The insertion that the session was opened on.
    const std::string& insertion_id() const noexcept;
    /// The card's state at the start of the session.
    const std::string& state_tag() const noexcept;
    /// The card's answer to reset at the start of the session.
    const std::vector<std::uint8_t>& atr() const noexcept;
    /// How long the session waited for its turn.
    std::chrono::nanoseconds queue_duration() const noexcept;
    /// Whether the card was reset since its user before.
    bool reset_before_session() const noexcept;

private:
    friend class Client;
    explicit Session(std::shared_ptr<Conversation> conversation);
    /// Shared with the calls on their way. Its thread is joined when the session ends.
    std::shared_ptr<Conversation> conversation_;
    std::vector<std::uint8_t> atr_;
};

}  // namespace cardbroker
