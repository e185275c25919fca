// What comes back from a unit: the answers, and how it ran.
#pragma once

#include <cardbroker/apdu_bytes.h>
#include <cardbroker/enums.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace cardbroker {

/// The answer to one command.
struct CommandResult {
    /// The response data, without the status word.
    ApduBytes data;
    /// SW1 and SW2: 0x9000 is normal processing. Status words are data: 0x6982 is a success of the call.
    std::uint16_t status_word = 0;
    /// Which of the exchanges that the command took gave the status word.
    StatusWordSource status_word_source = StatusWordSource::Unspecified;
    /// How many GET RESPONSEs were sent for the command, 0–256.
    std::uint32_t get_response_count = 0;
};

/// What a unit answered, and how it ran.
struct Transmitted {
    /// The answers, in the order of the commands.
    std::vector<CommandResult> results;
    /// The insertion that the unit ran on; within a session the one that it was opened on.
    std::string insertion_id;
    /// The card's state after the unit, for TransmitOptions::if_state_tag. Empty within a session, where nobody else
    /// can change it.
    std::string state_tag;
    /// How long the unit waited for its turn. Zero within a session.
    std::chrono::nanoseconds queue_duration{0};
    /// How long the card worked on it.
    std::chrono::nanoseconds card_duration{0};
    /// Whether the card was reset since the unit before. Always false within a session.
    bool reset_before_unit = false;
    /// Whether this is the kept outcome of an earlier unit with the same request id.
    bool replayed = false;
};

}  // namespace cardbroker
