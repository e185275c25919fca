// Commands: what is sent to a card or its reader, and how a unit goes on after it.
#pragma once

#include <cardbroker/apdu_bytes.h>
#include <cardbroker/enums.h>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace cardbroker {

/// The status words that agree with `value` in all bits of `mask`.
struct StatusWordPattern {
    std::uint16_t value = 0;
    /// 0x0001–0xFFFF. Default: 0xFFFF, an exact match.
    std::optional<std::uint16_t> mask;
};

/// Sends an APDU to the card.
struct ApduCommand {
    /// With the defaults.
    explicit ApduCommand(ApduBytes apdu) : bytes(std::move(apdu)) {}

    /// 4–65,544 bytes; raw: 1–65,548 bytes of any structure.
    ApduBytes bytes;
    /// Sends the bytes exactly as given and hands back the answer as it comes: no GET RESPONSE, no correction of Le.
    bool raw = false;
    /// The class of the GET RESPONSEs that fetch the rest of an answer after 61xx, 0–255, on the command's logical
    /// channel. Default: the one that the transmission protocol asks for.
    std::optional<std::uint8_t> continue_class;
    /// The instruction that fetches the rest of an answer after 61xx. 0: the default, 0xC0 (GET RESPONSE).
    std::uint8_t continue_instruction = 0;
    /// Sends a PIN although the card has said that one try is left, on a reader where the broker guards the last try.
    bool allow_last_try = false;
    /// Sends a PIN although this card has refused it already. The broker does not take it yet.
    bool allow_known_wrong = false;
};

/// Sends a control code to the reader or its driver. The broker does not have it yet (ErrorReason::NotImplemented).
struct ControlCommand {
    /// As the platform's PC/SC numbers it.
    std::int64_t code = 0;
    /// At most 65,548 bytes.
    ApduBytes data;
};

/// Reads an attribute of the reader. The broker does not have it yet (ErrorReason::NotImplemented).
struct GetAttribute {
    /// PC/SC part 3 §3.1.2.
    std::int64_t tag = 0;
};

/// Sets an attribute of the reader. The broker does not have it yet (ErrorReason::NotImplemented).
struct SetAttribute {
    /// PC/SC part 3 §3.1.2.
    std::int64_t tag = 0;
    /// At most 65,548 bytes.
    ApduBytes value;
};

/// Has the reader ask for a PIN at its own keys. The broker does not have it yet (ErrorReason::NotImplemented).
struct PinPadCommand {
    /// The command APDU, with filler bytes where the reader puts the PIN.
    ApduBytes apdu_template;
    PinPadOperation operation = PinPadOperation::Verify;
    /// Unspecified: ASCII.
    PinEncoding encoding = PinEncoding::Unspecified;
    /// Where the PIN begins, counted in bytes from the template's data field.
    std::int32_t pin_offset = 0;
    /// The length of the PIN block in bytes. 0: as long as the PIN.
    std::int32_t pin_block_length = 0;
    /// The fewest and the most digits that the reader takes. 0: the reader's own.
    std::int32_t min_digits = 0;
    std::int32_t max_digits = 0;
    /// How long the reader waits for the next key. Default: the reader's own.
    std::optional<std::chrono::nanoseconds> key_timeout;
};

/// One command of a unit.
struct Command {
    /// An APDU with the defaults, made from its bytes.
    Command(ApduBytes apdu) : action(ApduCommand(std::move(apdu))) {}
    Command(std::initializer_list<std::uint8_t> apdu) : action(ApduCommand(ApduBytes(apdu))) {}
    // Any other action.
    Command(ApduCommand command) : action(std::move(command)) {}
    Command(ControlCommand command) : action(std::move(command)) {}
    Command(GetAttribute command) : action(command) {}
    Command(SetAttribute command) : action(std::move(command)) {}
    Command(PinPadCommand command) : action(std::move(command)) {}

    /// An APDU that is sent exactly as given.
    static Command raw(ApduBytes bytes);

    /// What is done.
    std::variant<ApduCommand, ControlCommand, GetAttribute, SetAttribute, PinPadCommand> action;
    /// Which status words let the unit go on to the next command, at most 16. Empty: `stop_rule` decides.
    std::vector<StatusWordPattern> continue_on;
    /// Which status words let the unit go on where `continue_on` is empty. Unspecified: 9000, 9100, 91AF, 9Fxx, 61xx,
    /// 62xx, and 63xx except 6300 and 63Cx.
    StopRule stop_rule = StopRule::Unspecified;
};

}  // namespace cardbroker
