// Turns: their terms, and the waiting requests of this program.
#pragma once

#include <cardbroker/enums.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cardbroker {

/// The terms of a turn, common to units and sessions.
struct TurnOptions {
    /// The longest wait for the turn, at most 24 h. Zero: the turn begins at once or fails. Default: 30 s.
    std::optional<std::chrono::nanoseconds> wait_timeout;
    /// Whether the turn fails at once without a usable card (Required, the default) or waits for one up to
    /// `wait_timeout` (Awaited).
    CardRequirement card = CardRequirement::Unspecified;
    /// Fails with NotSent unless the card is still in this insertion (Reader::insertion_id) when the turn begins.
    /// Empty: any.
    std::string if_insertion_id;
    /// Fails with NotSent if the card was used or reset since this state tag (Transmitted::state_tag). Empty: any.
    std::string if_state_tag;
    /// Fails with NotSent if the card may hold security state of any caller, this one included, such as a verified PIN.
    bool if_not_raised = false;
    /// The reset of the card before the first command: Warm or Cold. Default: none.
    CardReset reset_before = CardReset::Unspecified;
};

/// The current turn of a card.
struct TurnHolder {
    /// Whether the turn belongs to this program.
    bool is_own = false;
    /// Whether the turn is a session; otherwise it is a unit.
    bool is_session = false;
    /// The start time of the turn.
    std::chrono::system_clock::time_point begin_time;
};

/// A request of this program that waits for its turn.
struct WaitingTurn {
    /// The reader's name: `readers/{id}`.
    std::string reader;
    /// Whether the request opens a session; otherwise it runs a unit.
    bool is_session = false;
    /// The number of turns ahead, an estimate: a group that has the card may keep it for several turns where that
    /// saves a reset.
    std::int32_t turns_ahead_count = 0;
    /// The arrival time of the request.
    std::chrono::system_clock::time_point arrive_time;
    /// The end of the wait.
    std::chrono::system_clock::time_point deadline_time;
    /// The current turn of the card; absent without a holder.
    std::optional<TurnHolder> holder;
};

/// Follows the waiting requests of this program; made by Client::watch_turn. It has no thread: it works during `next`.
/// For one thread at a time, except `stop`.
class TurnWatch {
public:
    TurnWatch(TurnWatch&&) noexcept;
    TurnWatch& operator=(TurnWatch&&) noexcept;
    ~TurnWatch();

    /// All waiting requests, at once and after each change, at most four times a second; ordered by reader and arrival.
    /// Empty if no change comes within `timeout` or the watch was stopped.
    ///
    /// Throws Error when the watch has ended, also after 90 s of silence; every later call throws it too.
    std::optional<std::vector<WaitingTurn>> next(std::chrono::nanoseconds timeout);

    /// Ends the watch: a waiting `next` and every later one returns nothing. Any thread may call it.
    void stop() noexcept;
    /// Whether the watch was stopped.
    bool is_stopped() const noexcept;

private:
    friend class Client;
    class State;
    explicit TurnWatch(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace cardbroker
