// What the tests in C have in common: checks that end the program with their line, and short calls.
#ifndef CHECK_H
#define CHECK_H

#include <cardbroker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Ends the test unless `condition` holds.
#define CHECK(condition) ((condition) ? (void)0 : broken(__FILE__, __LINE__, #condition))

static inline void broken(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: %s\n", file, line, condition);
    exit(1);
}

// Ends the test with the error's message unless there is none.
#define DONE(error) done(__FILE__, __LINE__, error)

static inline void done(const char *file, int line, cardbroker_error *error) {
    if (error) broken(file, line, cardbroker_error_message(error));
}

// Whether the error has this code and this reason. Frees it.
static inline int is_error(cardbroker_error *error, int32_t code, const char *reason) {
    const int is_it =
        cardbroker_error_code(error) == code && error && strcmp(cardbroker_error_reason_name(error), reason) == 0;
    if (error && !is_it) fprintf(stderr, "another error: %s\n", cardbroker_error_message(error));
    cardbroker_error_free(error);
    return is_it;
}

static inline size_t from_hex(const char *hex, uint8_t *bytes) {
    size_t length = 0;
    for (; hex[0]; hex += 2) {
        unsigned byte = 0;
        CHECK(sscanf(hex, "%2x", &byte) == 1);
        bytes[length++] = (uint8_t)byte;
    }
    return length;
}

// Makes the commands of a unit from hexadecimal texts.
static inline cardbroker_commands *unit_of(const char *first, const char *second) {
    uint8_t bytes[300];
    cardbroker_commands *commands = cardbroker_commands_new();
    CHECK(cardbroker_commands_add_apdu(commands, bytes, from_hex(first, bytes)) == CARDBROKER_CODE_OK);
    if (second) CHECK(cardbroker_commands_add_apdu(commands, bytes, from_hex(second, bytes)) == CARDBROKER_CODE_OK);
    return commands;
}

// Runs a unit of one or two commands; frees nothing but the commands.
static inline cardbroker_error *run(cardbroker_client *client, const char *reader, const char *first,
                                    const char *second, cardbroker_answers **answers) {
    cardbroker_error *error;
    cardbroker_commands *commands = unit_of(first, second);
    cardbroker_transmit(client, reader, commands, NULL, answers, &error);
    cardbroker_commands_free(commands);
    return error;
}

// Whether an answer is the hexadecimal text with the status word behind a space.
static inline int is_answer(const cardbroker_answers *answers, size_t index, const char *expected) {
    char text[1100] = "";
    size_t length = 0;
    const uint8_t *data = cardbroker_answers_data(answers, index, &length);
    CHECK(length < 500);
    for (size_t at = 0; at < length; ++at) sprintf(text + 2 * at, "%02X", data[at]);
    sprintf(text + strlen(text), " %04X", cardbroker_answers_status_word(answers, index));
    if (strcmp(text, expected) != 0) fprintf(stderr, "another answer: %s\n", text);
    return strcmp(text, expected) == 0;
}

static inline cardbroker_client *connected(void) {
    cardbroker_client *client;
    cardbroker_error *error;
    cardbroker_connect(NULL, &client, &error);
    DONE(error);
    return client;
}

#define READER "readers/simulated-reader-00"
#define SELECT "00A4040006F04341524401"
#define FCI "6F118406F04341524401A5078801015F2D0265 9000"
#define INCREMENT "8012000004"
#define VERIFY "00200080083132333435363738"
#define WRONG "00200080083939393939393939"
#define PROTECTED "00B0810005"

#endif
