// Waits and deadlines of calls. No clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace cardbroker {

/// The time for the card in a call without `deadline`: above the broker's exchange timeout of 120 s.
inline constexpr std::chrono::nanoseconds card_time = std::chrono::seconds(150);

/// The longest deadline of a call; the contract allows waits of 24 h.
inline constexpr std::chrono::nanoseconds max_deadline = std::chrono::hours(48);

/// The wait that the broker grants a request without `wait_timeout`.
inline constexpr std::chrono::nanoseconds default_wait = std::chrono::seconds(30);

struct Times {
    std::chrono::nanoseconds deadline;
    /// The wait for the turn; absent: the broker's default.
    std::optional<std::chrono::nanoseconds> wait;
};

/// The time for the card after this wait: a wait of many minutes needs more than `card_time` behind it to keep its full
/// length below the deadline.
constexpr std::chrono::nanoseconds with_card_time(std::chrono::nanoseconds wait) {
    return wait + std::max(card_time, wait / 8);
}

/// The wait of a request for its turn: the user's, else the default of the broker.
constexpr std::chrono::nanoseconds wait_time(std::optional<std::chrono::nanoseconds> wait) {
    return std::clamp(wait.value_or(default_wait), std::chrono::nanoseconds(0), max_deadline);
}

/// The deadline of a call, and the wait for the turn below it.
constexpr Times times(std::optional<std::chrono::nanoseconds> wait, std::optional<std::chrono::nanoseconds> deadline) {
    const std::chrono::nanoseconds zero(0);
    const auto asked = wait_time(wait);
    const auto whole = std::clamp(deadline.value_or(with_card_time(asked)), zero, max_deadline);
    // Leaves time for NotSent to arrive before gRPC ends the call by itself.
    const auto margin = std::max<std::chrono::nanoseconds>(std::chrono::milliseconds(50), whole / 10);
    const auto possible = std::min(asked, std::max(zero, whole - margin));
    if (!wait && possible == asked) return {whole, std::nullopt};
    return {whole, possible};
}

}  // namespace cardbroker
