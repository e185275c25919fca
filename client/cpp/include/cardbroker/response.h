// What comes back from a unit: the answers, and how it ran.
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
    /// Which of the exchanges that the command took gave the status word.
    StatusWordSource status_word_source = StatusWordSource::Unspecified;
    /// How many GET RESPONSEs were sent for the command, 0–256.
    std::int32_t get_response_count = 0;
};

/// The answer to a control code.
struct ControlResult {
    ApduBytes data;
};

/// The value of an attribute; empty if one was set.
struct AttributeResult {
    ApduBytes value;
};

/// The card's answer to a PIN that was typed at the reader.
struct PinPadResult {
    /// SW1 and SW2.
    std::uint16_t status_word = 0;
};

/// The answer to one command.
struct CommandResult {
    /// What the command brought; std::monostate if that is newer than this client.
    std::variant<std::monostate, ApduResult, ControlResult, AttributeResult, PinPadResult> outcome;
    /// How long the card and its reader worked on the command.
    std::chrono::nanoseconds card_duration{0};

    /// The response data of an APDU or a control code, or the attribute's value; empty if there is none.
    const ApduBytes& data() const noexcept;
    /// SW1 and SW2 of an APDU or a PIN; 0 if there is none. Status words are data: 0x6982 is a success of the call.
    std::uint16_t status_word() const noexcept;
};

/// What a unit answered, and how it ran.
struct Transmitted {
    /// The answers, in the order of the commands.
    std::vector<CommandResult> results;
    /// The insertion that the unit ran on; within a session the one that it was opened on.
    std::string insertion_id;
    /// The card's state after the unit, for TurnOptions::if_state_tag. Empty within a session, where nobody else can
    /// change it.
    std::string state_tag;
    /// How long the unit waited for its turn. Zero within a session.
    std::chrono::nanoseconds queue_duration{0};
    /// How long the card worked on it.
    std::chrono::nanoseconds card_duration{0};
    /// Whether the card was reset between the unit before and this one, or at its start. Always false within a session.
    bool was_reset = false;
    /// Whether this is the kept outcome of an earlier unit with the same request id.
    bool replayed = false;
};

}  // namespace cardbroker
