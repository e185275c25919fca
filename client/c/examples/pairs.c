// Runs pairs of SELECT and GET RESPONSE and counts the broken pairs: the answer that SELECT offers (61 xx) is lost (6D
// 00) if any other command reaches the card before GET RESPONSE. The time begins with the first turn, so that several
// programs on one card measure the same period.
#define _POSIX_C_SOURCE 200809L
#include <cardbroker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const uint8_t select_command[] = {0x00, 0xA4, 0x04, 0x00, 0x06, 0xF0, 'C', 'A', 'R', 'D', 0x01, 0x00};
static const uint8_t get_response[] = {0x00, 0xC0, 0x00, 0x00, 0x13};
static const uint8_t read_protected[] = {0x00, 0xB0, 0x81, 0x00, 0x05};

static const char usage[] =
    "usage: pairs READER --seconds S [--session] [--protected] [--child]\n"
    "       pairs READER --hold\n"
    "--protected: read the file behind the PIN; --child: start a child process that runs pairs too\n";

// The arguments, and what the calls need.
typedef struct {
    const char *reader;
    double seconds;
    int session, protect, hold, child;
    cardbroker_client *client;
    cardbroker_turn_options *options;
    cardbroker_commands *select, *second, *pair;
} run_state;

// Ends the program for an error other than `expected`, the kind of a broken pair. Frees the error.
static int failed(cardbroker_error *error, int32_t expected) {
    if (!error) return 0;
    if (cardbroker_error_kind(error) != expected) {
        fprintf(stderr, "%s\n", cardbroker_error_message(error));
        exit(1);
    }
    cardbroker_error_free(error);
    return 1;
}

static void add_raw(cardbroker_commands *commands, const uint8_t *apdu, size_t length) {
    cardbroker_commands_add_apdu(commands, apdu, length);
    cardbroker_commands_set_raw(commands, 1);
}

static void prepare(run_state *run) {
    const uint8_t *second = run->protect ? read_protected : get_response;
    run->options = cardbroker_turn_options_new();
    // The card may be inserted after the start of this program.
    cardbroker_turn_options_set_card(run->options, CARDBROKER_CARD_REQUIREMENT_AWAITED);
    run->select = cardbroker_commands_new();
    run->second = cardbroker_commands_new();
    run->pair = cardbroker_commands_new();
    add_raw(run->select, select_command, sizeof select_command);
    add_raw(run->second, second, sizeof get_response);
    add_raw(run->pair, select_command, sizeof select_command);
    add_raw(run->pair, second, sizeof get_response);
}

// Whether the last answer is 9000. Frees the answers.
static int is_whole(cardbroker_answers *answers) {
    const int whole = cardbroker_answers_status_word(answers, cardbroker_answers_count(answers) - 1) == 0x9000;
    cardbroker_answers_free(answers);
    return whole;
}

static int unit_is_whole(run_state *run) {
    cardbroker_answers *answers;
    cardbroker_error *error;
    cardbroker_transmit(run->client, run->reader, run->pair, run->options, &answers, &error);
    return !failed(error, CARDBROKER_ERROR_KIND_STOPPED) && is_whole(answers);
}

static cardbroker_session *begin(run_state *run) {
    cardbroker_session *session;
    cardbroker_answers *answers;
    cardbroker_error *error;
    cardbroker_open_session(run->client, run->reader, run->options, &session, &error);
    failed(error, 0);
    cardbroker_session_transmit(session, run->select, CARDBROKER_RESTART_AUTOMATIC, &answers, &error);
    failed(error, 0);
    cardbroker_answers_free(answers);
    return session;
}

static int session_is_whole(run_state *run) {
    cardbroker_session *session = begin(run);
    cardbroker_answers *answers;
    cardbroker_error *error;
    cardbroker_session_transmit(session, run->second, CARDBROKER_RESTART_AUTOMATIC, &answers, &error);
    const int whole = !failed(error, CARDBROKER_ERROR_KIND_STOPPED) && is_whole(answers);
    cardbroker_session_close(session, &error);
    failed(error, 0);
    cardbroker_session_free(session);
    return whole;
}

static void hold(run_state *run) {
    const struct timespec pause = {0, 100000000};
    cardbroker_session *session = begin(run);
    puts("{\"holding\": true}");
    fflush(stdout);
    while (cardbroker_session_is_open(session)) nanosleep(&pause, NULL);
    cardbroker_session_free(session);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void count(run_state *run) {
    int pairs = 0, broken = 0;
    double end = 0;
    while (pairs == 0 || now() < end) {
        broken += !(run->session ? session_is_whole(run) : unit_is_whole(run));
        if (++pairs == 1) end = now() + run->seconds;
    }
    printf("{\"pairs\": %d, \"broken\": %d}\n", pairs, broken);
    fflush(stdout);
}

// Starts this program again, with the same arguments but for --child.
static pid_t start_child(char **arguments) {
    char *own[16] = {0};
    int count = 0;
    for (char **argument = arguments; *argument && count < 15; ++argument) {
        if (strcmp(*argument, "--child") != 0) own[count++] = *argument;
    }
    const pid_t id = fork();
    if (id == 0) {
        execv("/proc/self/exe", own);
        _exit(127);
    }
    return id;
}

static int parse(run_state *run, char **arguments) {
    while (*++arguments) {
        if (strcmp(*arguments, "--session") == 0) {
            run->session = 1;
        } else if (strcmp(*arguments, "--protected") == 0) {
            run->protect = 1;
        } else if (strcmp(*arguments, "--hold") == 0) {
            run->hold = 1;
        } else if (strcmp(*arguments, "--child") == 0) {
            run->child = 1;
        } else if (strcmp(*arguments, "--seconds") == 0 && arguments[1]) {
            run->seconds = atof(*++arguments);
        } else if (!run->reader && **arguments != '-') {
            run->reader = *arguments;
        } else {
            return 0;
        }
    }
    return run->reader != NULL;
}

int main(int number, char **arguments) {
    run_state run = {0};
    (void)number;
    if (!parse(&run, arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    // Before this program connects: a child that shares its connection could not use it.
    const pid_t child = run.child ? start_child(arguments) : 0;
    cardbroker_error *error;
    cardbroker_connect(NULL, &run.client, &error);
    failed(error, 0);
    prepare(&run);
    if (run.hold) {
        hold(&run);
    } else {
        count(&run);
    }
    cardbroker_turn_options_free(run.options);
    cardbroker_commands_free(run.select);
    cardbroker_commands_free(run.second);
    cardbroker_commands_free(run.pair);
    cardbroker_client_free(run.client);
    int status = 0;
    if (child != 0 && waitpid(child, &status, 0) != child) return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
