// The types of the C++ face of the C interface, with the names of the client in client/cpp.
#pragma once

#include <cardbroker.h>
#include <cardbroker_enums.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cardbroker {

/// The bytes of a command or a response: wiped when destroyed, never printed.
class ApduBytes {
public:
    ApduBytes() = default;
    ApduBytes(std::initializer_list<std::uint8_t> bytes) : bytes_(bytes) {}
    ApduBytes(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
    /// Makes a copy of `size` bytes at `bytes`.
    ApduBytes(const void* bytes, std::size_t size) {
        const auto* const first = static_cast<const std::uint8_t*>(bytes);
        if (size > 0) bytes_.assign(first, first + size);
    }
    /// Reads hexadecimal digits, two for each byte; ignores spaces between bytes.
    ///
    /// Throws std::invalid_argument without the text itself.
    static ApduBytes from_hex(std::string_view text) {
        ApduBytes result;
        result.bytes_.reserve(text.size() / 2);
        for (std::size_t at = 0; at < text.size();) {
            if (text[at] == ' ') {
                ++at;
                continue;
            }
            if (at + 1 == text.size()) throw std::invalid_argument("an odd number of hexadecimal digits");
            result.bytes_.push_back(static_cast<std::uint8_t>(digit(text[at]) << 4 | digit(text[at + 1])));
            at += 2;
        }
        return result;
    }

    ApduBytes(const ApduBytes&) = default;
    ApduBytes(ApduBytes&&) noexcept = default;
    ApduBytes& operator=(ApduBytes other) noexcept {
        bytes_.swap(other.bytes_);
        return *this;
    }
    ~ApduBytes() {
        volatile std::uint8_t* const bytes = bytes_.data();
        for (std::size_t at = 0; at < bytes_.size(); ++at) bytes[at] = 0;
    }

    const std::uint8_t* data() const noexcept { return bytes_.data(); }
    std::size_t size() const noexcept { return bytes_.size(); }
    bool empty() const noexcept { return bytes_.empty(); }
    const std::uint8_t* begin() const noexcept { return data(); }
    const std::uint8_t* end() const noexcept { return data() + size(); }
    std::uint8_t operator[](std::size_t index) const noexcept { return bytes_[index]; }

    friend bool operator==(const ApduBytes& left, const ApduBytes& right) noexcept {
        return left.bytes_ == right.bytes_;
    }
    friend bool operator!=(const ApduBytes& left, const ApduBytes& right) noexcept { return !(left == right); }
    friend std::ostream& operator<<(std::ostream& out, const ApduBytes&) { return out << "[redacted]"; }

private:
    static std::uint8_t digit(char character) {
        if (character >= '0' && character <= '9') return static_cast<std::uint8_t>(character - '0');
        if (character >= 'A' && character <= 'F') return static_cast<std::uint8_t>(character - 'A' + 10);
        if (character >= 'a' && character <= 'f') return static_cast<std::uint8_t>(character - 'a' + 10);
        throw std::invalid_argument("not a hexadecimal digit");
    }

    std::vector<std::uint8_t> bytes_;
};

/// A smart-card reader and the card in it.
struct Reader {
    /// The resource name, `readers/{id}`, stable while the broker runs.
    std::string name;
    /// The reader's PC/SC name, for people.
    std::string display_name;
    ReaderState state = ReaderState::Unspecified;
    /// The card's answer to reset, 2–33 bytes; empty without a card or without its answer.
    std::vector<std::uint8_t> atr;
    CardProtocol active_protocol = CardProtocol::Unspecified;
    /// Identifies this insertion of this card; empty without a card. Compare for equality only.
    std::string insertion_id;
    std::int64_t insertion_count = 0;
};

/// A reader, given as a Reader, or by its name `readers/{id}`, its id or its display name.
class ReaderName {
public:
    ReaderName(const Reader& reader) : text_(reader.name) {}
    ReaderName(std::string text) : text_(std::move(text)) {}
    ReaderName(const char* text) : text_(text) {}

    const std::string& text() const noexcept { return text_; }

private:
    std::string text_;
};

/// The status words with the bits of `value` under `mask`; without a mask exactly this one.
struct StatusWordPattern {
    std::uint16_t value = 0;
    std::optional<std::uint16_t> mask;
};

/// Sends an APDU to the card; cardbroker.h documents each field at its setter.
struct ApduCommand {
    explicit ApduCommand(ApduBytes apdu) : bytes(std::move(apdu)) {}

    ApduBytes bytes;
    bool raw = false;
    std::optional<std::uint8_t> continue_class;
    std::uint8_t continue_instruction = 0;
    bool allow_last_try = false;
    bool allow_known_wrong = false;
};

/// Sends a control code to the reader or its driver. Not implemented by the broker yet.
struct ControlCommand {
    std::int64_t code = 0;
    ApduBytes data;
};

/// Reads an attribute of the reader. Not implemented by the broker yet.
struct GetAttribute {
    std::int64_t tag = 0;
};

/// Sets an attribute of the reader. Not implemented by the broker yet.
struct SetAttribute {
    std::int64_t tag = 0;
    ApduBytes value;
};

/// Reads a PIN at the reader's own keys and sends it to the card. Not implemented by the broker yet.
struct PinPadCommand {
    ApduBytes apdu_template;
    PinPadOperation operation = PinPadOperation::Verify;
    PinEncoding encoding = PinEncoding::Unspecified;
    std::uint16_t pin_offset = 0;
    std::uint16_t pin_block_length = 0;
    std::uint16_t min_digits = 0;
    std::uint16_t max_digits = 0;
    std::optional<std::chrono::milliseconds> key_timeout;
};

/// One command of a unit, with its rule to continue.
struct Command {
    Command(ApduBytes apdu) : action(ApduCommand(std::move(apdu))) {}
    Command(std::initializer_list<std::uint8_t> apdu) : action(ApduCommand(ApduBytes(apdu))) {}
    Command(ApduCommand command) : action(std::move(command)) {}
    Command(ControlCommand command) : action(std::move(command)) {}
    Command(GetAttribute command) : action(command) {}
    Command(SetAttribute command) : action(std::move(command)) {}
    Command(PinPadCommand command) : action(std::move(command)) {}

    /// Makes a command whose bytes are sent exactly as given.
    static Command raw(ApduBytes bytes) {
        ApduCommand command(std::move(bytes));
        command.raw = true;
        return command;
    }

    std::variant<ApduCommand, ControlCommand, GetAttribute, SetAttribute, PinPadCommand> action;
    /// The status words after which the unit continues, at most 16. Empty: `stop_rule` decides.
    std::vector<StatusWordPattern> continue_on;
    StopRule stop_rule = StopRule::Unspecified;
};

/// The terms of a turn, common to units and sessions; cardbroker.h documents each field at its setter.
struct TurnOptions {
    std::optional<std::chrono::milliseconds> wait_timeout;
    CardRequirement card = CardRequirement::Unspecified;
    std::string if_insertion_id;
    std::string if_state_tag;
    bool if_not_raised = false;
    CardReset reset_before = CardReset::Unspecified;
    /// The treatment of the card after the unit, or after Session::close.
    Disposition disposition = Disposition::Unspecified;
};

/// The options of Client::transmit.
struct TransmitOptions : TurnOptions {
    std::optional<std::chrono::milliseconds> deadline;
    std::vector<std::uint8_t> request_id;
    bool repeatable = false;
    bool any_card = false;
};

/// The options of Client::open_session.
struct SessionOptions : TurnOptions {
    std::optional<std::chrono::milliseconds> idle_timeout;
};

/// The answer to one command.
struct CommandResult {
    /// The kind of the answer (CARDBROKER_ANSWER_KIND_…).
    std::int32_t kind = 0;
    StatusWordSource status_word_source = StatusWordSource::Unspecified;
    /// The count of GET RESPONSEs that the command took, 0–256.
    std::uint32_t get_response_count = 0;
    std::chrono::nanoseconds card_duration{0};

    /// The response data of an APDU or a control code, or the attribute's value; empty if there is none.
    const ApduBytes& data() const noexcept { return data_; }
    /// SW1 and SW2 of an APDU or a PIN; 0 if there is none. Status words are data.
    std::uint16_t status_word() const noexcept { return status_word_; }

    ApduBytes data_;
    std::uint16_t status_word_ = 0;
};

/// The answers and times of a unit.
struct Transmitted {
    std::vector<CommandResult> results;
    std::string insertion_id;
    std::string state_tag;
    std::chrono::nanoseconds queue_duration{0};
    std::chrono::nanoseconds card_duration{0};
    bool was_reset = false;
    bool replayed = false;
};

/// A field of a request that breaks a rule of the contract.
struct FieldViolation {
    std::string field;
    std::string description;
};

/// The details of a failure, without any APDU byte.
struct Failure {
    ErrorReason reason = ErrorReason::Unspecified;
    /// The reason's short name, "NO_CARD"; empty without a reason.
    std::string reason_name;
    Delivery delivery = Delivery::Unknown;
    std::string message;
    StatusCode code = StatusCode::Unknown;
    std::optional<std::chrono::nanoseconds> retry_after;
    std::string rule;
    RevocationCause cause = RevocationCause::Unspecified;
    std::vector<FieldViolation> field_violations;
    std::string reader;
    /// The number of tries that the card has left for a PIN that the broker withholds, if it is known.
    std::optional<int> tries_left;
    bool is_permanent = false;
};

/// A request that failed or ran in part. Its text contains no APDU byte.
class Error : public std::runtime_error {
public:
    explicit Error(Failure failure)
        : std::runtime_error(failure.message), failure_(std::make_shared<const Failure>(std::move(failure))) {}

    const Failure& failure() const noexcept { return *failure_; }
    ErrorReason reason() const noexcept { return failure_->reason; }
    /// Whether a command without an answer may have run; for a Stopped the command at `index()`.
    Delivery delivery() const noexcept { return failure_->delivery; }
    StatusCode code() const noexcept { return failure_->code; }
    std::optional<std::chrono::nanoseconds> retry_after() const noexcept { return failure_->retry_after; }
    /// The tries that the card has left for a PIN that the broker withholds; only if they are known.
    std::optional<int> tries_left() const noexcept { return failure_->tries_left; }
    /// Whether every repeat of the same request fails again.
    bool is_permanent() const noexcept { return failure_->is_permanent; }

private:
    /// Shared, because copying an exception must not fail.
    std::shared_ptr<const Failure> failure_;
};

/// No broker answers, or this user may not open its socket or cannot trust it. Nothing was sent.
class NotRunning final : public Error {
public:
    using Error::Error;
};

/// A request that the library refused before it sent anything.
class InvalidRequest final : public Error {
public:
    using Error::Error;
};

/// A handle of the parent in a forked child. Nothing was sent.
class Forked final : public Error {
public:
    using Error::Error;
};

/// A unit that ended before its last command was answered.
class Stopped final : public Error {
public:
    Stopped(Failure failure, std::size_t index, Transmitted partial)
        : Error(std::move(failure)), index_(index), partial_(std::make_shared<const Transmitted>(std::move(partial))) {}

    /// The first command without a complete answer, counted from 0.
    std::size_t index() const noexcept { return index_; }
    /// The answers before the stop.
    const Transmitted& partial() const noexcept { return *partial_; }

private:
    std::size_t index_;
    std::shared_ptr<const Transmitted> partial_;
};

}  // namespace cardbroker
