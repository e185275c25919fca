// Turns: on which terms a program waits for the card, and how it follows its own waiting requests.
#pragma once

#include <cardbroker/enums.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cardbroker {

/// The terms of a turn.
struct TurnOptions {
    /// How long to wait for the turn, at most 24 h; zero means now or never. Default: 30 s.
    std::optional<std::chrono::nanoseconds> wait_timeout;
    /// Whether a usable card must be there at once (Required, the default), or may be waited for within `wait_timeout`
    /// (Awaited).
    CardRequirement card = CardRequirement::Unspecified;
    /// Fails, not sent, unless the card is still in this insertion (Reader::insertion_id) when the turn comes. Empty:
    /// any.
    std::string if_insertion_id;
    /// Fails, not sent, if anybody used or reset the card since (Transmitted::state_tag). Empty: any.
    std::string if_state_tag;
    /// Resets the card before the first command: Warm or Cold. Default: it does not.
    CardReset reset_before = CardReset::Unspecified;
};

/// The turn that a card is in.
struct TurnHolder {
    /// Whether it is this program's own.
    bool is_own = false;
    /// Whether it is a session; otherwise it is a unit.
    bool is_session = false;
    /// When it began.
    std::chrono::system_clock::time_point begin_time;
};

/// A request of this program that waits for its turn.
struct WaitingTurn {
    /// The reader's name: `readers/{id}`.
    std::string reader;
    /// Whether a session is to be opened, or a unit to be run.
    bool is_session = false;
    /// About how many turns come before it; an estimate.
    std::int32_t turns_ahead_count = 0;
    /// When it arrived.
    std::chrono::system_clock::time_point arrive_time;
    /// When it gives up.
    std::chrono::system_clock::time_point deadline_time;
    /// The turn that the card is in; none if nobody holds it.
    std::optional<TurnHolder> holder;
};

/// Follows the waiting requests of this program; made by Client::watch_turn. Has no thread: it works while `next` is
/// called. For one thread at a time, but for `stop`.
class TurnWatch {
public:
    TurnWatch(TurnWatch&&) noexcept;
    TurnWatch& operator=(TurnWatch&&) noexcept;
    ~TurnWatch();

    /// All waiting requests, at first and then whenever something has changed, at most four times a second; ordered by
    /// reader and arrival. Nothing if that takes longer than `timeout` or the watch was stopped.
    ///
    /// Throws Error when the watch has ended, also after 90 s of silence; from then on every call throws it.
    std::optional<std::vector<WaitingTurn>> next(std::chrono::nanoseconds timeout);

    /// Ends the watch: `next`, also one that waits, returns nothing from now on. From any thread.
    void stop() noexcept;
    /// Whether it was stopped.
    bool is_stopped() const noexcept;

private:
    friend class Client;
    class State;
    explicit TurnWatch(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace cardbroker
