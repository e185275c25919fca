// Commands: one APDU each, and how a unit goes on after it.
#pragma once

#include <cardbroker/apdu_bytes.h>

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace cardbroker {

/// The status words that agree with `value` in all bits of `mask`.
struct StatusWordPattern {
    std::uint16_t value = 0;
    std::uint16_t mask = 0xFFFF;
};

/// A command APDU and how the unit goes on after it.
struct Command {
    /// A command with the defaults, made from its bytes.
    Command(ApduBytes bytes) : apdu(std::move(bytes)) {}
    Command(std::initializer_list<std::uint8_t> bytes) : apdu(bytes) {}

    /// 4–65,544 bytes.
    ApduBytes apdu;
    /// Which status words let the unit go on, at most 16. Empty: 9000, 61xx, 62xx and 63xx, not 63Cx.
    std::vector<StatusWordPattern> continue_on;
    /// The instruction that fetches the rest of an answer after 61xx, if it is not 0xC0 (GET RESPONSE); 0: it is.
    std::uint8_t continue_instruction = 0;
};

/// What the broker does about an answer that asks for another exchange.
enum class Exchange {
    /// Fetches the rest after 61xx, and sends a command again with the right Le after 6Cxx.
    Completed,
    /// Sends the bytes exactly as given and hands back every answer as it comes.
    Raw,
};

}  // namespace cardbroker
