// Commands for a card or its reader, and the rule by which a unit continues after each.
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

/// The status words with the bits of `value` under `mask`.
struct StatusWordPattern {
    std::uint16_t value = 0;
    /// 0x0001–0xFFFF. Default: 0xFFFF, an exact match.
    std::optional<std::uint16_t> mask;
};

/// Sends an APDU to the card.
struct ApduCommand {
    /// Makes a command with the default options.
    explicit ApduCommand(ApduBytes apdu) : bytes(std::move(apdu)) {}

    /// The APDU, 4–65,544 bytes; with `raw` 1–65,548 bytes of any structure.
    ApduBytes bytes;
    /// Sends the bytes exactly as given and returns the answer unchanged: no GET RESPONSE, no correction of Le.
    bool raw = false;
    /// The class of the GET RESPONSEs for the rest of an answer after 61xx, 0–255, on the command's logical channel.
    /// Default: the class that the transmission protocol needs.
    std::optional<std::uint8_t> continue_class;
    /// The instruction for the rest of an answer after 61xx, 1–255. 0: the default, 0xC0 (GET RESPONSE).
    std::uint8_t continue_instruction = 0;
    /// Sends a PIN although one try is left, on a reader where the broker guards the last try.
    bool allow_last_try = false;
    /// Sends a PIN although this card has refused it already. Needs the permission `guard_override`.
    bool allow_known_wrong = false;
};

/// Sends a control code to the reader or its driver. Not implemented yet by the broker (ErrorReason::NotImplemented).
struct ControlCommand {
    /// The control code in the numbering of the platform's PC/SC.
    std::int64_t code = 0;
    /// The data, at most 65,548 bytes.
    ApduBytes data;
};

/// Reads an attribute of the reader. Not implemented yet by the broker (ErrorReason::NotImplemented).
struct GetAttribute {
    /// The tag of the attribute, PC/SC part 3 §3.1.2.
    std::int64_t tag = 0;
};

/// Sets an attribute of the reader. Not implemented yet by the broker (ErrorReason::NotImplemented).
struct SetAttribute {
    /// The tag of the attribute, PC/SC part 3 §3.1.2.
    std::int64_t tag = 0;
    /// The data, at most 65,548 bytes.
    ApduBytes value;
};

/// Reads a PIN at the reader's own keys and sends it to the card. Not implemented yet by the broker
/// (ErrorReason::NotImplemented).
struct PinPadCommand {
    /// The command APDU, with filler bytes in place of the PIN.
    ApduBytes apdu_template;
    /// Verify reads one PIN; Modify reads the old and the new PIN.
    PinPadOperation operation = PinPadOperation::Verify;
    /// The encoding of the PIN; Unspecified: ASCII.
    PinEncoding encoding = PinEncoding::Unspecified;
    /// The offset of the PIN in the template's data field, in bytes.
    std::int32_t pin_offset = 0;
    /// The length of the PIN block in bytes. 0: the length of the PIN.
    std::int32_t pin_block_length = 0;
    /// The smallest and the largest number of digits. 0: the reader's own.
    std::int32_t min_digits = 0;
    std::int32_t max_digits = 0;
    /// The longest pause between two keys. Default: the reader's own.
    std::optional<std::chrono::nanoseconds> key_timeout;
};

/// One command of a unit, with its rule to continue.
struct Command {
    /// Makes a command for an APDU with the default options.
    Command(ApduBytes apdu) : action(ApduCommand(std::move(apdu))) {}
    Command(std::initializer_list<std::uint8_t> apdu) : action(ApduCommand(ApduBytes(apdu))) {}
    /// Makes a command for any other action.
    Command(ApduCommand command) : action(std::move(command)) {}
    Command(ControlCommand command) : action(std::move(command)) {}
    Command(GetAttribute command) : action(command) {}
    Command(SetAttribute command) : action(std::move(command)) {}
    Command(PinPadCommand command) : action(std::move(command)) {}

    /// Makes a command whose bytes are sent exactly as given.
    static Command raw(ApduBytes bytes);

    /// The action of the command.
    std::variant<ApduCommand, ControlCommand, GetAttribute, SetAttribute, PinPadCommand> action;
    /// The status words after which the unit continues, at most 16. Empty: `stop_rule` decides.
    std::vector<StatusWordPattern> continue_on;
    /// The rule for an empty `continue_on`. Unspecified: the unit continues after 9000, 9100, 91AF, 9Fxx, 61xx, 62xx,
    /// and 63xx except 6300 and 63Cx.
    StopRule stop_rule = StopRule::Unspecified;
};

}  // namespace cardbroker
