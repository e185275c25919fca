// The C interface with a real broker: readers, units, sessions, watches and errors.
#define _POSIX_C_SOURCE 200809L
#include <stdbool.h>

#include "check.h"

// An endpoint without a broker, and the beginning of the one with the broker of the test.
#ifdef _WIN32
#define NOWHERE "npipe:////./pipe/cardbroker/nowhere"
#define LOCAL "npipe:/"
#else
#define NOWHERE "unix:/nowhere/at.sock"
#define LOCAL "unix:/"
#endif

static void versions(void) {
    CHECK(cardbroker_abi() == CARDBROKER_ABI);
    CHECK(strchr(cardbroker_version(), '.') != NULL);
    char *meaning = cardbroker_status_word_meaning(0x6A82);
    CHECK(strcmp(meaning, "file or application not found") == 0);
    cardbroker_text_free(meaning);
    CHECK(cardbroker_status_word_meaning(0x9F10) == NULL);
}

static void readers(cardbroker_client *client) {
    cardbroker_readers *readers;
    cardbroker_error *error;
    CHECK(cardbroker_client_readers(client, &readers, &error) == CARDBROKER_CODE_OK);
    CHECK(cardbroker_readers_count(readers) == 2 && cardbroker_readers_get(readers, 2) == NULL);
    const cardbroker_reader *first = cardbroker_readers_get(readers, 0);
    CHECK(strcmp(cardbroker_reader_name(first), READER) == 0);
    CHECK(strcmp(cardbroker_reader_display_name(first), "Simulated Reader 00") == 0);
    cardbroker_readers_free(readers);

    cardbroker_reader *one;
    CHECK(cardbroker_client_reader(client, "simulated-reader-01", &one, &error) == CARDBROKER_CODE_OK);
    CHECK(strcmp(cardbroker_reader_display_name(one), "Simulated Reader 01") == 0);
    cardbroker_reader_free(one);
    cardbroker_client_reader(client, "No such reader", &one, &error);
    CHECK(one == NULL && cardbroker_error_kind(error) == CARDBROKER_ERROR_KIND_INVALID);
    CHECK(strcmp(cardbroker_error_violation_field(error, 0), "reader") == 0);
    CHECK(cardbroker_error_violation_count(error) == 1 && cardbroker_error_violation_field(error, 1) == NULL);
    CHECK(is_error(error, CARDBROKER_CODE_INVALID_ARGUMENT, "INVALID_REQUEST"));
    cardbroker_client_reader(client, "readers/none", &one, &error);
    CHECK(is_error(error, CARDBROKER_CODE_NOT_FOUND, "READER_NOT_FOUND"));
}

static void broker(cardbroker_client *client) {
    cardbroker_broker *broker;
    cardbroker_error *error;
    cardbroker_client_broker(client, &broker, &error);
    DONE(error);
    CHECK(strcmp(cardbroker_broker_version(broker), cardbroker_version()) == 0);
    CHECK(cardbroker_broker_limit(broker, CARDBROKER_LIMIT_COMMANDS) == 64);
    CHECK(cardbroker_broker_limit(broker, 99) == -1);
    CHECK(cardbroker_broker_start_time_ns(broker) > 0 && *cardbroker_broker_epoch(broker));
    cardbroker_broker_free(broker);
}

// Reads events until the first reader has this state.
static void until(cardbroker_watch *watch, int32_t state) {
    for (int events = 0; events < 50; ++events) {
        cardbroker_event *event;
        cardbroker_error *error;
        cardbroker_watch_next(watch, 30000, &event, &error);
        DONE(error);
        CHECK(event != NULL && cardbroker_event_error(event) == NULL);
        const cardbroker_reader *reader = cardbroker_event_reader(event);
        const bool is_it =
            reader && strcmp(cardbroker_reader_name(reader), READER) == 0 && cardbroker_reader_state(reader) == state;
        cardbroker_event_free(event);
        if (is_it) return;
    }
    CHECK(!"the state came");
}

static void watch(cardbroker_client *client) {
    cardbroker_watch *watch;
    cardbroker_event *event;
    cardbroker_error *error;
    cardbroker_client_watch(client, &watch, &error);
    DONE(error);
    cardbroker_watch_next(watch, -1, &event, &error);
    CHECK(cardbroker_event_kind(event) == CARDBROKER_EVENT_KIND_CONNECTED);
    cardbroker_event_free(event);
    until(watch, CARDBROKER_READER_STATE_READY);

    cardbroker_answers *answers;
    // The card answers, leaves at once and comes back after 200 ms.
    DONE(run(client, READER, "80F0020004000000C8", NULL, &answers));
    cardbroker_answers_free(answers);
    until(watch, CARDBROKER_READER_STATE_EMPTY);
    cardbroker_reader *reader;
    cardbroker_error *refused = run(client, READER, SELECT, NULL, &answers);
    if (refused) CHECK(is_error(refused, CARDBROKER_CODE_FAILED_PRECONDITION, "NO_CARD"));
    cardbroker_answers_free(answers);
    until(watch, CARDBROKER_READER_STATE_READY);
    cardbroker_client_reader(client, READER, &reader, &error);
    size_t length = 0;
    CHECK(cardbroker_reader_atr(reader, &length) != NULL && length >= 2);
    CHECK(cardbroker_reader_insertion_count(reader) == 2 && *cardbroker_reader_insertion_id(reader));
    CHECK(cardbroker_reader_active_protocol(reader) != CARDBROKER_CARD_PROTOCOL_UNSPECIFIED);
    cardbroker_reader_free(reader);

    CHECK(cardbroker_watch_next(watch, 20, &event, &error) == CARDBROKER_CODE_OK && event == NULL);
    cardbroker_watch_stop(watch);
    CHECK(cardbroker_watch_is_stopped(watch));
    CHECK(cardbroker_watch_next(watch, -1, &event, &error) == CARDBROKER_CODE_OK && event == NULL);
    cardbroker_watch_free(watch);
}

static void units(cardbroker_client *client) {
    cardbroker_answers *answers;
    DONE(run(client, "Simulated Reader 00", SELECT, INCREMENT, &answers));
    CHECK(cardbroker_answers_count(answers) == 2);
    size_t length = 0;
    const uint8_t *data = cardbroker_answers_data(answers, 0, &length);
    CHECK(length == 19 && data[0] == 0x6F && cardbroker_answers_status_word(answers, 0) == 0x9000);
    CHECK(cardbroker_answers_status_word_source(answers, 0) == CARDBROKER_STATUS_WORD_SOURCE_GET_RESPONSE);
    CHECK(cardbroker_answers_get_response_count(answers, 0) == 1);
    CHECK(cardbroker_answers_kind(answers, 0) == CARDBROKER_ANSWER_KIND_APDU);
    CHECK(is_answer(answers, 1, "00000001 9000"));
    CHECK(cardbroker_answers_data(answers, 2, &length) == NULL && length == 0);
    CHECK(cardbroker_answers_card_duration_ns(answers) >= cardbroker_answers_command_duration_ns(answers, 0));

    cardbroker_turn_options *options = cardbroker_turn_options_new();
    cardbroker_turn_options_set_if_state_tag(options, cardbroker_answers_state_tag(answers));
    cardbroker_turn_options_set_if_insertion_id(options, cardbroker_answers_insertion_id(answers));
    cardbroker_turn_options_set_reset_before(options, CARDBROKER_CARD_RESET_WARM);
    cardbroker_answers_free(answers);
    cardbroker_commands *increment = unit_of(INCREMENT, NULL);
    cardbroker_error *error;
    cardbroker_transmit(client, READER, increment, options, &answers, &error);
    DONE(error);
    CHECK(is_answer(answers, 0, "00000002 9000") && cardbroker_answers_was_reset(answers));
    cardbroker_answers_free(answers);
    cardbroker_transmit(client, READER, increment, options, &answers, &error);
    CHECK(answers == NULL && cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_NOT_SENT);
    CHECK(is_error(error, CARDBROKER_CODE_ABORTED, "STATE_CHANGED"));
    cardbroker_turn_options_free(options);

    // The same id: one execution.
    options = cardbroker_turn_options_new();
    cardbroker_turn_options_set_request_id(options, (const uint8_t *)"0123456789abcdef", 16);
    for (int round = 0; round < 2; ++round) {
        cardbroker_transmit(client, READER, increment, options, &answers, &error);
        DONE(error);
        CHECK(is_answer(answers, 0, "00000003 9000") && cardbroker_answers_replayed(answers) == (round == 1));
        cardbroker_answers_free(answers);
    }
    cardbroker_turn_options_free(options);
    cardbroker_commands_free(increment);
}

static void stopped_units(cardbroker_client *client) {
    cardbroker_answers *answers;
    cardbroker_error *error = run(client, READER, PROTECTED, SELECT, &answers);
    CHECK(answers == NULL && cardbroker_error_kind(error) == CARDBROKER_ERROR_KIND_STOPPED);
    CHECK(cardbroker_error_index(error) == 1);
    CHECK(is_answer(cardbroker_error_partial(error), 0, " 6982"));
    CHECK(cardbroker_error_reason(error) == CARDBROKER_ERROR_REASON_STATUS_WORD);
    CHECK(cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_NOT_SENT);
    CHECK(is_error(error, CARDBROKER_CODE_FAILED_PRECONDITION, "STATUS_WORD"));
    // The exchange fails at once: the command may have run.
    error = run(client, READER, "80F006000400000000", NULL, &answers);
    CHECK(cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_UNKNOWN);
    CHECK(cardbroker_error_code(error) == CARDBROKER_CODE_DATA_LOSS);
    cardbroker_error_free(error);
}

static void withheld_pin(cardbroker_client *client) {
    cardbroker_answers *answers;
    DONE(run(client, READER, WRONG, NULL, &answers));
    CHECK(is_answer(answers, 0, " 63C2"));
    cardbroker_answers_free(answers);
    cardbroker_error *error = run(client, READER, WRONG, NULL, &answers);
    CHECK(answers == NULL && cardbroker_error_tries_left(error) == 2);
    CHECK(is_error(error, CARDBROKER_CODE_FAILED_PRECONDITION, "PIN_KNOWN_WRONG"));
    error = run(client, READER, PROTECTED, WRONG, &answers);
    CHECK(cardbroker_error_tries_left(error) == -1 && cardbroker_error_tries_left(NULL) == -1);
    CHECK(is_error(error, CARDBROKER_CODE_FAILED_PRECONDITION, "STATUS_WORD"));
}

static void bad_arguments(cardbroker_client *client) {
    cardbroker_answers *answers;
    cardbroker_error *error;
    cardbroker_commands *commands = unit_of(SELECT, NULL);
    CHECK(cardbroker_transmit(NULL, READER, commands, NULL, &answers, &error) == CARDBROKER_CODE_INVALID_ARGUMENT);
    CHECK(strcmp(cardbroker_error_message(error), "the argument client is NULL") == 0);
    CHECK(is_error(error, CARDBROKER_CODE_INVALID_ARGUMENT, "INVALID_REQUEST"));
    CHECK(cardbroker_transmit(client, NULL, commands, NULL, &answers, NULL) == CARDBROKER_CODE_INVALID_ARGUMENT);
    CHECK(cardbroker_transmit(client, READER, NULL, NULL, &answers, NULL) == CARDBROKER_CODE_INVALID_ARGUMENT);
    CHECK(cardbroker_transmit(client, READER, commands, NULL, NULL, NULL) == CARDBROKER_CODE_INVALID_ARGUMENT);
    cardbroker_transmit(client, "\xFF", commands, NULL, &answers, &error);
    CHECK(strcmp(cardbroker_error_message(error), "the argument reader is not UTF-8") == 0);
    cardbroker_error_free(error);

    // A setter's mistake is reported by the call that uses the handle.
    CHECK(cardbroker_commands_set_stop_rule(commands, 99) == CARDBROKER_CODE_INVALID_ARGUMENT);
    cardbroker_transmit(client, READER, commands, NULL, &answers, &error);
    CHECK(answers == NULL && strstr(cardbroker_error_message(error), "rule") != NULL);
    CHECK(is_error(error, CARDBROKER_CODE_INVALID_ARGUMENT, "INVALID_REQUEST"));
    cardbroker_commands_free(commands);
    commands = cardbroker_commands_new();
    CHECK(cardbroker_commands_set_raw(commands, 1) == CARDBROKER_CODE_INVALID_ARGUMENT);
    CHECK(cardbroker_commands_add_apdu(commands, NULL, 5) == CARDBROKER_CODE_INVALID_ARGUMENT);
    CHECK(cardbroker_commands_add_apdu(NULL, NULL, 0) == CARDBROKER_CODE_INVALID_ARGUMENT);
    cardbroker_commands_free(commands);

    // NULL is a handle without content for everything else.
    CHECK(cardbroker_error_code(NULL) == 0 && cardbroker_error_message(NULL) == NULL);
    CHECK(cardbroker_readers_count(NULL) == 0 && cardbroker_answers_status_word(NULL, 0) == 0);
    CHECK(!cardbroker_session_is_open(NULL) && cardbroker_reader_name(NULL) == NULL);
    cardbroker_client_free(NULL);
    cardbroker_session_abort(NULL);
}

static void no_broker(void) {
    cardbroker_client *client;
    cardbroker_error *error;
    cardbroker_connect_options *options = cardbroker_connect_options_new();
    cardbroker_connect_options_set_endpoint(options, NOWHERE);
    cardbroker_connect_options_set_connect_timeout_ms(options, 0);
    cardbroker_connect(options, &client, &error);
    CHECK(client == NULL && cardbroker_error_kind(error) == CARDBROKER_ERROR_KIND_NOT_RUNNING);
    CHECK(is_error(error, CARDBROKER_CODE_UNAVAILABLE, ""));
    CHECK(cardbroker_connect_options_set_endpoint(options, "here") == CARDBROKER_CODE_INVALID_ARGUMENT);
    cardbroker_connect(options, &client, &error);
    CHECK(strstr(cardbroker_error_message(error), "\"here\" is not an endpoint") != NULL);
    CHECK(cardbroker_error_is_permanent(error));
    cardbroker_error_free(error);
    cardbroker_connect_options_free(options);
}

static cardbroker_session *open_session(cardbroker_client *client, int32_t disposition) {
    cardbroker_session *session;
    cardbroker_error *error;
    cardbroker_turn_options *options = cardbroker_turn_options_new();
    cardbroker_turn_options_set_disposition(options, disposition);
    cardbroker_turn_options_set_idle_timeout_ms(options, 20000);
    cardbroker_open_session(client, READER, options, &session, &error);
    DONE(error);
    cardbroker_turn_options_free(options);
    return session;
}

static cardbroker_error *in_session(cardbroker_session *session, const char *apdu, const char *expected) {
    cardbroker_answers *answers;
    cardbroker_error *error;
    cardbroker_commands *commands = unit_of(apdu, NULL);
    cardbroker_session_transmit(session, commands, CARDBROKER_RESTART_AUTOMATIC, &answers, &error);
    cardbroker_commands_free(commands);
    if (!error) CHECK(is_answer(answers, 0, expected));
    cardbroker_answers_free(answers);
    return error;
}

static void sessions(cardbroker_client *client) {
    cardbroker_error *error;
    cardbroker_answers *answers;
    cardbroker_session *session = open_session(client, CARDBROKER_DISPOSITION_LEAVE);
    CHECK(cardbroker_session_is_open(session) && cardbroker_session_waiters(session) == 0);
    size_t length = 0;
    CHECK(cardbroker_session_atr(session, &length) != NULL && length >= 2);
    CHECK(*cardbroker_session_insertion_id(session) && *cardbroker_session_state_tag(session));
    DONE(in_session(session, VERIFY, " 9000"));
    DONE(in_session(session, PROTECTED, "4F6E6C7920 9000"));
    uint8_t atr[33];
    cardbroker_session_reset(session, CARDBROKER_CARD_RESET_WARM, CARDBROKER_RESTART_AUTOMATIC, atr, sizeof atr,
                             &length, &error);
    DONE(error);
    CHECK(length >= 2 && (atr[0] == 0x3B || atr[0] == 0x3F));
    CHECK(cardbroker_session_reset(session, 99, 0, NULL, 0, &length, NULL) == CARDBROKER_CODE_INVALID_ARGUMENT);
    CHECK(length == 0);
    DONE(in_session(session, PROTECTED, " 6982"));
    DONE(in_session(session, VERIFY, " 9000"));
    CHECK(cardbroker_session_close(session, &error) == CARDBROKER_CODE_OK);
    CHECK(!cardbroker_session_is_open(session));
    error = in_session(session, VERIFY, "");
    CHECK(cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_NOT_SENT);
    CHECK(is_error(error, CARDBROKER_CODE_CANCELLED, ""));
    CHECK(cardbroker_session_close(session, NULL) == CARDBROKER_CODE_CANCELLED);
    cardbroker_session_free(session);
    DONE(run(client, READER, PROTECTED, NULL, &answers));
    CHECK(is_answer(answers, 0, "4F6E6C7920 9000"));
    cardbroker_answers_free(answers);

    // An idle timeout out of its range: the option has arrived.
    cardbroker_turn_options *options = cardbroker_turn_options_new();
    cardbroker_turn_options_set_idle_timeout_ms(options, 99);
    cardbroker_open_session(client, READER, options, &session, &error);
    CHECK(session == NULL && strstr(cardbroker_error_violation_field(error, 0), "idle_timeout") != NULL);
    CHECK(is_error(error, CARDBROKER_CODE_INVALID_ARGUMENT, "INVALID_REQUEST"));
    cardbroker_turn_options_free(options);

    // Without a close the card is reset.
    cardbroker_session_free(open_session(client, CARDBROKER_DISPOSITION_LEAVE));
    DONE(run(client, READER, PROTECTED, NULL, &answers));
    CHECK(is_answer(answers, 0, " 6982"));
    cardbroker_answers_free(answers);
}

static void turns(cardbroker_client *client) {
    cardbroker_turn_watch *watch;
    cardbroker_turns *turns;
    cardbroker_error *error;
    cardbroker_client_watch_turn(client, READER, &watch, &error);
    DONE(error);
    cardbroker_turn_watch_next(watch, 30000, &turns, &error);
    DONE(error);
    CHECK(turns != NULL && cardbroker_turns_count(turns) == 0 && !cardbroker_turns_has_holder(turns, 0));
    cardbroker_turns_free(turns);
    CHECK(!cardbroker_turn_watch_is_stopped(watch));
    cardbroker_turn_watch_stop(watch);
    CHECK(cardbroker_turn_watch_is_stopped(watch) == 1);
    CHECK(cardbroker_turn_watch_next(watch, -1, &turns, &error) == CARDBROKER_CODE_OK && turns == NULL);
    cardbroker_turn_watch_free(watch);
}

int main(void) {
    versions();
    no_broker();
    cardbroker_client *client = connected();
    CHECK(strncmp(cardbroker_client_endpoint(client), LOCAL, strlen(LOCAL)) == 0);
    readers(client);
    broker(client);
    watch(client);
    units(client);
    stopped_units(client);
    withheld_pin(client);
    bad_arguments(client);
    sessions(client);
    turns(client);
    cardbroker_client_free(client);
    puts("the interface: done");
}
