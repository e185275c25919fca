// The waiting requests of this program, for the C++ face of the C interface.
#pragma once

#include <cardbroker_convert.hpp>

namespace cardbroker {

/// The current turn of a card.
struct TurnHolder {
    /// Whether the turn belongs to this program.
    bool is_own = false;
    /// Whether the turn is a session; otherwise it is a unit.
    bool is_session = false;
    /// The start of the turn; the clock's epoch if it is unknown.
    std::chrono::system_clock::time_point begin_time;
};

/// A request of this program that waits for its turn.
struct WaitingTurn {
    /// The reader's name: `readers/{id}`.
    std::string reader;
    /// Whether the request opens a session; otherwise it runs a unit.
    bool is_session = false;
    /// The number of turns ahead, an estimate.
    std::int32_t turns_ahead_count = 0;
    /// The arrival of the request; the clock's epoch if it is unknown.
    std::chrono::system_clock::time_point arrive_time;
    /// The end of the wait; the clock's epoch if it is unknown.
    std::chrono::system_clock::time_point deadline_time;
    /// The current turn of the card; absent without a holder.
    std::optional<TurnHolder> holder;
};

namespace detail {

inline std::vector<WaitingTurn> waiting(const cardbroker_turns* from) {
    std::vector<WaitingTurn> waiting;
    for (std::size_t index = 0; index < cardbroker_turns_count(from); ++index) {
        WaitingTurn& turn = waiting.emplace_back();
        turn.reader = text(cardbroker_turns_reader(from, index));
        turn.is_session = cardbroker_turns_is_session(from, index);
        turn.turns_ahead_count = static_cast<std::int32_t>(cardbroker_turns_ahead_count(from, index));
        turn.arrive_time = moment(cardbroker_turns_arrive_time_ns(from, index));
        turn.deadline_time = moment(cardbroker_turns_deadline_time_ns(from, index));
        if (!cardbroker_turns_has_holder(from, index)) continue;
        TurnHolder& holder = turn.holder.emplace();
        holder.is_own = cardbroker_turns_holder_is_own(from, index);
        holder.is_session = cardbroker_turns_holder_is_session(from, index);
        holder.begin_time = moment(cardbroker_turns_holder_begin_time_ns(from, index));
    }
    return waiting;
}

}  // namespace detail

/// Follows the waiting requests of this program; made by Client::watch_turn. For one thread at a time, except `stop`.
class TurnWatch {
public:
    /// All waiting requests, at once and after each change; ordered by reader and arrival. Empty if no change comes
    /// within `timeout` or the watch was stopped.
    ///
    /// Throws Error; the next call then opens the watch again.
    std::optional<std::vector<WaitingTurn>> next(std::chrono::milliseconds timeout) {
        const auto turns = detail::call<Turns>(cardbroker_turn_watch_next, watch_.get(),
                                               static_cast<std::int64_t>(detail::milliseconds(timeout)));
        if (!turns) return std::nullopt;
        return detail::waiting(turns.get());
    }

    /// Ends the watch: a waiting `next` and every later one returns nothing. Any thread may call it.
    void stop() noexcept { cardbroker_turn_watch_stop(watch_.get()); }
    bool is_stopped() const noexcept { return cardbroker_turn_watch_is_stopped(watch_.get()); }

private:
    friend class Client;
    using Turns = detail::Owned<cardbroker_turns, cardbroker_turns_free>;
    using Handle = detail::Owned<cardbroker_turn_watch, cardbroker_turn_watch_free>;
    explicit TurnWatch(Handle watch) : watch_(std::move(watch)) {}

    Handle watch_;
};

}  // namespace cardbroker
