// Sessions: a lease on a card that lasts as long as the session's stream.
#pragma once

#include <cardbroker/command.h>
#include <cardbroker/response.h>
#include <cardbroker/turn.h>

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

/// The options of Client::open_session.
struct SessionOptions : TurnOptions {
    /// The idle time, 0.1 s–60 s, after which the broker revokes the lease while others wait. Default: 10 s.
    std::optional<std::chrono::nanoseconds> idle_timeout;
    /// The treatment of the card after Session::close. Default: it is reset. Any other end of the session resets the
    /// card.
    Disposition disposition = Disposition::Unspecified;
    /// Receives the estimated number of turns ahead, at once and after each change, in the thread that opens the
    /// session. Its exceptions end the wait.
    std::function<void(std::int32_t)> on_queue_position;
};

/// The effect of earlier failures on a message of a session.
enum class Restart {
    /// The first message begun after the caller received the failure runs; messages sent before that fail too.
    Automatic,
    /// The message runs after any failure before it: for commands that are correct in any case, such as a clean-up.
    Now,
    /// The message fails too (NotSent, ErrorReason::PrecedingFailed) if a message before it failed and none has run
    /// since: for commands that are correct only after all earlier ones.
    Never,
};

/// Sent commands of a session; made by Session::begin. Its destruction does not take the commands back.
class Pending {
public:
    Pending(Pending&&) noexcept;
    Pending& operator=(Pending&&) noexcept;
    ~Pending();

    /// Waits at most this time; returns whether `get` would return at once.
    bool wait_for(std::chrono::nanoseconds timeout) const;
    /// Waits for the answers, once; Session::abort ends the wait.
    ///
    /// Throws the errors of Session::transmit.
    Transmitted get();

private:
    friend class Session;
    explicit Pending(std::unique_ptr<Answer> answer);
    std::unique_ptr<Answer> answer_;
};

/// A sent reset of a session's card; made by Session::begin_reset.
class PendingReset {
public:
    PendingReset(PendingReset&&) noexcept;
    PendingReset& operator=(PendingReset&&) noexcept;
    ~PendingReset();

    /// Waits at most this time; returns whether `get` would return at once.
    bool wait_for(std::chrono::nanoseconds timeout) const;
    /// Waits, once, for the card's new answer to reset, 2–33 bytes.
    ///
    /// Throws the errors of Session::transmit.
    std::vector<std::uint8_t> get();

private:
    friend class Session;
    explicit PendingReset(std::unique_ptr<Answer> answer);
    std::unique_ptr<Answer> answer_;
};

/// An exclusive lease on a card, made by Client::open_session: no command of another caller reaches the card.
///
/// **Order.** Calls may overlap, by `begin` or from several threads, and reach the card in the order in which they were
/// begun. At most 32 are unanswered; further calls wait in this program.
///
/// **Failures.** After a failed call with `is_open()` still true the session remains usable. Messages already sent
/// behind the failed one fail too (NotSent, ErrorReason::PrecedingFailed); the first call after the caller received the
/// failure runs. Stopped is not such a failure: the messages behind it run.
///
/// **End.** `close` ends the session in order. The destructor ends it at once: waiting commands are not sent, the
/// running command finishes, and the card is reset. So an exception never leaves a half-used card behind, and the
/// destructor never waits for the card. A call after the end throws with NotSent.
///
/// **Silence.** 30 s after its last message the session sends a heartbeat by itself, so that proxies keep the stream. A
/// heartbeat is no activity: the broker still revokes an idle lease while others wait. 90 s without any message of the
/// broker count as a lost connection, also during the opening.
class Session {
public:
    Session(Session&&) noexcept;
    Session& operator=(Session&&) noexcept;
    ~Session();

    /// Runs 1–64 commands in order up to the first stop. No command of another call runs between them.
    ///
    /// Throws Stopped if the commands ended early, another Error if they did not run or their answer did not arrive.
    /// After a lost connection the delivery of sent commands is Unknown.
    Transmitted transmit(const std::vector<Command>& commands, Restart restart = Restart::Automatic);

    /// Sends as `transmit` does, without waiting for the answers; waits while 32 calls are unanswered.
    Pending begin(const std::vector<Command>& commands, Restart restart = Restart::Automatic);

    /// Resets the card; Cold cuts its power. Returns the new answer to reset, 2–33 bytes.
    std::vector<std::uint8_t> reset(CardReset reset = CardReset::Warm, Restart restart = Restart::Automatic);

    /// Sends as `reset` does, without waiting for the answer; waits while 32 calls are unanswered.
    PendingReset begin_reset(CardReset reset = CardReset::Warm, Restart restart = Restart::Automatic);

    /// Ends the session in order: sent messages are answered, then the card is treated by
    /// `SessionOptions::disposition`. Returns when the broker has confirmed it; throws Error if the session ended in
    /// another way.
    void close();

    /// Ends the session at once; waiting calls throw. Any thread may call it.
    void abort() noexcept;

    /// The number of callers that wait for the card, as last reported by the broker.
    std::int32_t waiters() const;
    /// Whether calls can still succeed, as far as this program knows.
    bool is_open() const;

    /// The insertion at the session's opening.
    const std::string& insertion_id() const noexcept;
    /// The state tag at the start of the session.
    const std::string& state_tag() const noexcept;
    /// The card's answer to reset at the start of the session.
    const std::vector<std::uint8_t>& atr() const noexcept;
    /// The time that the session waited for its turn.
    std::chrono::nanoseconds queue_duration() const noexcept;
    /// Whether the card was reset between the previous turn and this one, or at the start of this one.
    bool was_reset() const noexcept;

private:
    friend class Client;
    explicit Session(std::shared_ptr<Conversation> conversation);
    /// Shared with unanswered calls. Its threads are joined when the session ends.
    std::shared_ptr<Conversation> conversation_;
    std::vector<std::uint8_t> atr_;
};

}  // namespace cardbroker
