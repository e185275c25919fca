// Conversions between the C++ types and the handles of the C interface.
#pragma once

#include <cardbroker_types.hpp>

#include <new>

namespace cardbroker::detail {

/// Owns a handle of the C interface.
template <typename T, void (*free)(T*)>
struct Freeing {
    void operator()(T* handle) const noexcept { free(handle); }
};
template <typename T, void (*free)(T*)>
using Owned = std::unique_ptr<T, Freeing<T, free>>;

using OwnedAnswers = Owned<cardbroker_answers, cardbroker_answers_free>;
using OwnedCommands = Owned<cardbroker_commands, cardbroker_commands_free>;
using OwnedError = Owned<cardbroker_error, cardbroker_error_free>;
using OwnedOptions = Owned<cardbroker_turn_options, cardbroker_turn_options_free>;

/// A new handle; it is missing only without memory.
template <typename Handle>
Handle made(typename Handle::pointer handle) {
    if (!handle) throw std::bad_alloc();
    return Handle(handle);
}

inline std::string text(const char* text) { return text ? text : ""; }

inline std::chrono::nanoseconds time(std::uint64_t count) {
    return std::chrono::nanoseconds(static_cast<std::chrono::nanoseconds::rep>(count));
}

/// A point in time, from nanoseconds since 1970.
inline std::chrono::system_clock::time_point moment(std::int64_t count) {
    using Clock = std::chrono::system_clock;
    return Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(count)));
}

/// A time for a setter; a negative one counts as zero.
inline std::uint64_t milliseconds(std::chrono::milliseconds time) {
    return time.count() < 0 ? 0 : static_cast<std::uint64_t>(time.count());
}

inline Reader reader(const cardbroker_reader* from) {
    Reader reader;
    reader.name = text(cardbroker_reader_name(from));
    reader.display_name = text(cardbroker_reader_display_name(from));
    reader.state = static_cast<ReaderState>(cardbroker_reader_state(from));
    std::size_t length = 0;
    const std::uint8_t* const atr = cardbroker_reader_atr(from, &length);
    if (length > 0) reader.atr.assign(atr, atr + length);
    reader.active_protocol = static_cast<CardProtocol>(cardbroker_reader_active_protocol(from));
    reader.insertion_id = text(cardbroker_reader_insertion_id(from));
    reader.insertion_count = cardbroker_reader_insertion_count(from);
    return reader;
}

inline Transmitted transmitted(const cardbroker_answers* answers) {
    Transmitted transmitted;
    for (std::size_t index = 0; index < cardbroker_answers_count(answers); ++index) {
        CommandResult& result = transmitted.results.emplace_back();
        result.kind = cardbroker_answers_kind(answers, index);
        std::size_t length = 0;
        const std::uint8_t* const data = cardbroker_answers_data(answers, index, &length);
        result.data_ = ApduBytes(data, length);
        result.status_word_ = cardbroker_answers_status_word(answers, index);
        result.status_word_source =
            static_cast<StatusWordSource>(cardbroker_answers_status_word_source(answers, index));
        result.get_response_count = cardbroker_answers_get_response_count(answers, index);
        result.card_duration = time(cardbroker_answers_command_duration_ns(answers, index));
    }
    transmitted.insertion_id = text(cardbroker_answers_insertion_id(answers));
    transmitted.state_tag = text(cardbroker_answers_state_tag(answers));
    transmitted.queue_duration = time(cardbroker_answers_queue_duration_ns(answers));
    transmitted.card_duration = time(cardbroker_answers_card_duration_ns(answers));
    transmitted.was_reset = cardbroker_answers_was_reset(answers);
    transmitted.replayed = cardbroker_answers_replayed(answers);
    return transmitted;
}

inline Failure failure(const cardbroker_error* error) {
    Failure failure;
    failure.reason = static_cast<ErrorReason>(cardbroker_error_reason(error));
    failure.reason_name = text(cardbroker_error_reason_name(error));
    failure.delivery = static_cast<Delivery>(cardbroker_error_delivery(error));
    failure.message = text(cardbroker_error_message(error));
    failure.code = static_cast<StatusCode>(cardbroker_error_code(error));
    const std::int64_t pause = cardbroker_error_retry_after_ns(error);
    if (pause >= 0) failure.retry_after = std::chrono::nanoseconds(pause);
    failure.rule = text(cardbroker_error_rule(error));
    failure.cause = static_cast<RevocationCause>(cardbroker_error_cause(error));
    for (std::size_t index = 0; index < cardbroker_error_violation_count(error); ++index) {
        failure.field_violations.push_back({text(cardbroker_error_violation_field(error, index)),
                                            text(cardbroker_error_violation_description(error, index))});
    }
    failure.reader = text(cardbroker_error_reader(error));
    const std::int32_t tries = cardbroker_error_tries_left(error);
    if (tries >= 0) failure.tries_left = tries;
    failure.is_permanent = cardbroker_error_is_permanent(error);
    return failure;
}

[[noreturn]] inline void fail(const cardbroker_error* error) {
    switch (cardbroker_error_kind(error)) {
        case CARDBROKER_ERROR_KIND_NOT_RUNNING:
            throw NotRunning(failure(error));
        case CARDBROKER_ERROR_KIND_INVALID:
            throw InvalidRequest(failure(error));
        case CARDBROKER_ERROR_KIND_FORKED:
            throw Forked(failure(error));
        case CARDBROKER_ERROR_KIND_STOPPED:
            throw Stopped(failure(error), cardbroker_error_index(error), transmitted(cardbroker_error_partial(error)));
        default:
            throw Error(failure(error));
    }
}

/// Calls a function with variables for a handle and an error. Returns the handle, or throws.
template <typename Handle, typename Function, typename... Arguments>
Handle call(Function function, Arguments... arguments) {
    typename Handle::pointer handle = nullptr;
    cardbroker_error* error = nullptr;
    function(arguments..., &handle, &error);
    const OwnedError owned(error);
    if (owned) fail(owned.get());
    return Handle(handle);
}

/// Adds a command's action to the list.
struct Adding {
    cardbroker_commands* list;

    void operator()(const ApduCommand& command) const {
        cardbroker_commands_add_apdu(list, command.bytes.data(), command.bytes.size());
        cardbroker_commands_set_raw(list, command.raw);
        if (command.continue_class) cardbroker_commands_set_continue_class(list, *command.continue_class);
        cardbroker_commands_set_continue_instruction(list, command.continue_instruction);
        cardbroker_commands_set_allow_last_try(list, command.allow_last_try);
        cardbroker_commands_set_allow_known_wrong(list, command.allow_known_wrong);
    }
    void operator()(const ControlCommand& command) const {
        cardbroker_commands_add_control(list, command.code, command.data.data(), command.data.size());
    }
    void operator()(const GetAttribute& command) const { cardbroker_commands_add_get_attribute(list, command.tag); }
    void operator()(const SetAttribute& command) const {
        cardbroker_commands_add_set_attribute(list, command.tag, command.value.data(), command.value.size());
    }
    void operator()(const PinPadCommand& command) const {
        const ApduBytes& bytes = command.apdu_template;
        cardbroker_commands_add_pin_pad(list, bytes.data(), bytes.size(), static_cast<int>(command.operation));
        cardbroker_commands_set_pin_encoding(list, static_cast<int>(command.encoding));
        cardbroker_commands_set_pin_offset(list, command.pin_offset);
        cardbroker_commands_set_pin_block_length(list, command.pin_block_length);
        cardbroker_commands_set_pin_digits(list, command.min_digits, command.max_digits);
        if (command.key_timeout) {
            cardbroker_commands_set_pin_key_timeout_ms(list, milliseconds(*command.key_timeout));
        }
    }
};

inline OwnedCommands commands(const std::vector<Command>& commands) {
    auto list = made<OwnedCommands>(cardbroker_commands_new());
    for (const Command& command : commands) {
        std::visit(Adding{list.get()}, command.action);
        for (const StatusWordPattern& pattern : command.continue_on) {
            if (pattern.mask) {
                cardbroker_commands_add_continue_on(list.get(), pattern.value, *pattern.mask);
            } else {
                cardbroker_commands_add_continue_on_exactly(list.get(), pattern.value);
            }
        }
        cardbroker_commands_set_stop_rule(list.get(), static_cast<int>(command.stop_rule));
    }
    return list;
}

inline OwnedOptions terms(const TurnOptions& from) {
    auto options = made<OwnedOptions>(cardbroker_turn_options_new());
    if (from.wait_timeout) {
        cardbroker_turn_options_set_wait_timeout_ms(options.get(), milliseconds(*from.wait_timeout));
    }
    cardbroker_turn_options_set_card(options.get(), static_cast<int>(from.card));
    cardbroker_turn_options_set_if_insertion_id(options.get(), from.if_insertion_id.c_str());
    cardbroker_turn_options_set_if_state_tag(options.get(), from.if_state_tag.c_str());
    cardbroker_turn_options_set_if_not_raised(options.get(), from.if_not_raised);
    cardbroker_turn_options_set_reset_before(options.get(), static_cast<int>(from.reset_before));
    cardbroker_turn_options_set_disposition(options.get(), static_cast<int>(from.disposition));
    return options;
}

inline OwnedOptions options(const TransmitOptions& from) {
    auto options = terms(from);
    if (from.deadline) cardbroker_turn_options_set_deadline_ms(options.get(), milliseconds(*from.deadline));
    cardbroker_turn_options_set_request_id(options.get(), from.request_id.data(), from.request_id.size());
    cardbroker_turn_options_set_repeatable(options.get(), from.repeatable);
    cardbroker_turn_options_set_any_card(options.get(), from.any_card);
    return options;
}

inline OwnedOptions options(const SessionOptions& from) {
    auto options = terms(from);
    if (from.idle_timeout) {
        cardbroker_turn_options_set_idle_timeout_ms(options.get(), milliseconds(*from.idle_timeout));
    }
    return options;
}

}  // namespace cardbroker::detail
