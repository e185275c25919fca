// Sessions: a card that belongs to this program for as long as the session's stream lives.
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

/// How a session is opened and what becomes of it.
struct SessionOptions : TurnOptions {
    /// How long the session may idle while others wait before the broker takes it away, 0.1 s–60 s. Default: 10 s.
    std::optional<std::chrono::nanoseconds> idle_timeout;
    /// What happens to the card after Session::close. Default: it is reset, as it always is after a session that was
    /// not closed.
    Disposition disposition = Disposition::Unspecified;
    /// Told about how many turns come before this one, now and whenever that changes, in the thread that opens the
    /// session. An exception that it throws ends the wait.
    std::function<void(std::int32_t)> on_queue_position;
};

/// What a message of a session does about failures before it.
enum class Restart {
    /// The first message that was begun after the failure was told goes on; those that were sent before fail too.
    Automatic,
    /// It goes on whatever failed before it, known or not: for commands that are right in any case, such as a clean-up.
    Now,
    /// It fails as well, not sent (ErrorReason::PrecedingFailed), if any message before it has failed from which none
    /// has gone on, known or not: for commands that are right only after all before them.
    Never,
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

/// A reset of a session's card that is on its way; made by Session::begin_reset.
class PendingReset {
public:
    PendingReset(PendingReset&&) noexcept;
    PendingReset& operator=(PendingReset&&) noexcept;
    ~PendingReset();

    /// Whether `get` returns at once, after at most this time.
    bool wait_for(std::chrono::nanoseconds timeout) const;
    /// Waits, once, for the card's new answer to reset, 2–33 bytes.
    ///
    /// Throws as Session::transmit.
    std::vector<std::uint8_t> get();

private:
    friend class Session;
    explicit PendingReset(std::unique_ptr<Answer> answer);
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
/// never leaves a half-used card behind, and the destructor never waits for the card. A call after the end throws, not
/// sent.
///
/// **Silence.** After 30 s in which nothing was sent the session sends a heartbeat by itself, so that a proxy does not
/// end it. A heartbeat is no activity: it does not keep the broker from ending an idle session that others wait for.
/// A broker that says nothing for 90 s, not even a heartbeat, counts as a lost connection, also while it opens.
class Session {
public:
    Session(Session&&) noexcept;
    Session& operator=(Session&&) noexcept;
    ~Session();

    /// Runs 1–64 commands in order up to the first stop. No other call's command falls between them.
    ///
    /// Throws Stopped if some commands were answered but not all, another Error if none was. After a loss of the
    /// connection the delivery of those that were on their way is unknown.
    Transmitted transmit(const std::vector<Command>& commands, Restart restart = Restart::Automatic);

    /// The same without waiting for the answers, but for room if 32 calls are on their way.
    Pending begin(const std::vector<Command>& commands, Restart restart = Restart::Automatic);

    /// Resets the card: Warm, or Cold, which cuts its power. Returns its new answer to reset, 2–33 bytes.
    std::vector<std::uint8_t> reset(CardReset reset = CardReset::Warm, Restart restart = Restart::Automatic);

    /// The same without waiting for the answer.
    PendingReset begin_reset(CardReset reset = CardReset::Warm, Restart restart = Restart::Automatic);

    /// Ends the session in good order: what was sent is answered, then the card is treated as
    /// `SessionOptions::disposition` says. Returns when the broker says that this is done, or throws Error if the
    /// session ended otherwise.
    void close();

    /// Ends the session at once; the calls that wait throw. From any thread.
    void abort() noexcept;

    /// How many callers wait for the card, as last told by the broker.
    std::int32_t waiters() const;
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
    /// Whether the card was reset between the turn before and this one, or at its start.
    bool was_reset() const noexcept;

private:
    friend class Client;
    explicit Session(std::shared_ptr<Conversation> conversation);
    /// Shared with the calls on their way. Its thread is joined when the session ends.
    std::shared_ptr<Conversation> conversation_;
    std::vector<std::uint8_t> atr_;
};

}  // namespace cardbroker
