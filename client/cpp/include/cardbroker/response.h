// The outcome of a unit: its answers and times.
#pragma once

#include <cardbroker/apdu_bytes.h>
#include <cardbroker/enums.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace cardbroker {

/// The card's answer to an APDU.
struct ApduResult {
    /// The response data, without the status word.
    ApduBytes data;
    /// SW1 and SW2: 0x9000 is normal processing.
    std::uint16_t status_word = 0;
    /// The exchange that the status word comes from.
    StatusWordSource status_word_source = StatusWordSource::Unspecified;
    /// The count of GET RESPONSEs that the command took, 0–256.
    std::int32_t get_response_count = 0;
};

/// The answer to a control code.
struct ControlResult {
    ApduBytes data;
};

/// The value of an attribute; empty after a SetAttribute.
struct AttributeResult {
    ApduBytes value;
};

/// The card's answer to a PIN from the reader's keys.
struct PinPadResult {
    /// SW1 and SW2 of the card's answer.
    std::uint16_t status_word = 0;
};

/// The answer to one command.
struct CommandResult {
    /// The answer by kind; std::monostate for a kind newer than this client.
    std::variant<std::monostate, ApduResult, ControlResult, AttributeResult, PinPadResult> outcome;
    /// The time that the card and its reader worked on the command.
    std::chrono::nanoseconds card_duration{0};

    /// The response data of an APDU or a control code, or the attribute's value; empty if there is none.
    const ApduBytes& data() const noexcept;
    /// SW1 and SW2 of an APDU or a PIN; 0 if there is none. Status words are data: a call that returns 0x6982 has
    /// succeeded.
    std::uint16_t status_word() const noexcept;
};

/// The answers and times of a unit.
struct Transmitted {
    /// The answers, in the order of the commands.
    std::vector<CommandResult> results;
    /// The insertion that the unit ran on; within a session the insertion at its opening.
    std::string insertion_id;
    /// The state tag after the unit, for TurnOptions::if_state_tag. Empty within a session, where no other caller can
    /// change it.
    std::string state_tag;
    /// The time that the unit waited for its turn. Zero within a session.
    std::chrono::nanoseconds queue_duration{0};
    /// The time that the card worked on the unit.
    std::chrono::nanoseconds card_duration{0};
    /// Whether the card was reset between the previous unit and this one, or at the start of this one. False within a
    /// session.
    bool was_reset = false;
    /// Whether this is the stored outcome of an earlier unit with the same request id.
    bool replayed = false;
};

}  // namespace cardbroker
