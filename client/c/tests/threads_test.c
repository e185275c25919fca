// Threads and forks: a handle in several threads at once, calls that another thread ends, and a child without exec,
// which Windows does not have.
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#ifndef _WIN32
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "check.h"

#define ROUNDS 100
#define THREADS 4

static cardbroker_client *client;
static cardbroker_session *session;
static cardbroker_watch *watch;
static cardbroker_turn_watch *turn_watch;
static cardbroker_commands *pair;
static atomic_int begun;

// Runs pairs on one client, with one list of commands, in several threads.
static void *run_pairs(void *unused) {
    for (int round = 0; round < ROUNDS; ++round) {
        cardbroker_answers *answers;
        cardbroker_error *error;
        cardbroker_transmit(client, READER, pair, NULL, &answers, &error);
        DONE(error);
        CHECK(is_answer(answers, 0, " 6113") && cardbroker_answers_status_word(answers, 1) == 0x9000);
        cardbroker_answers_free(answers);
    }
    return unused;
}

// The same in one session.
static void *run_pairs_in_session(void *unused) {
    for (int round = 0; round < ROUNDS; ++round) {
        cardbroker_answers *answers;
        cardbroker_error *error;
        cardbroker_session_transmit(session, pair, CARDBROKER_RESTART_AUTOMATIC, &answers, &error);
        DONE(error);
        CHECK(is_answer(answers, 0, " 6113") && cardbroker_answers_status_word(answers, 1) == 0x9000);
        cardbroker_answers_free(answers);
    }
    return unused;
}

static void in_threads(void *(*work)(void *)) {
    pthread_t threads[THREADS];
    for (int number = 0; number < THREADS; ++number) CHECK(pthread_create(&threads[number], NULL, work, NULL) == 0);
    for (int number = 0; number < THREADS; ++number) CHECK(pthread_join(threads[number], NULL) == 0);
}

static cardbroker_session *opened(void) {
    cardbroker_session *new_session;
    cardbroker_error *error;
    cardbroker_open_session(client, READER, NULL, &new_session, &error);
    DONE(error);
    return new_session;
}

// Runs a command of 5 s in the session; another thread ends it.
static void *run_long(void *unused) {
    cardbroker_answers *answers;
    cardbroker_error *error;
    cardbroker_commands *slow = unit_of("80160000021388", NULL);
    begun = 1;
    cardbroker_session_transmit(session, slow, CARDBROKER_RESTART_AUTOMATIC, &answers, &error);
    CHECK(answers == NULL && cardbroker_error_code(error) != CARDBROKER_CODE_OK);
    cardbroker_error_free(error);
    cardbroker_commands_free(slow);
    return unused;
}

static void *wait_for_event(void *unused) {
    cardbroker_event *event;
    do {
        CHECK(cardbroker_watch_next(watch, -1, &event, NULL) == CARDBROKER_CODE_OK);
        if (cardbroker_event_kind(event) == CARDBROKER_EVENT_KIND_CONNECTED) begun = 1;
        cardbroker_event_free(event);
    } while (event);
    return unused;
}

static void *wait_for_turns(void *unused) {
    cardbroker_turns *turns;
    do {
        CHECK(cardbroker_turn_watch_next(turn_watch, -1, &turns, NULL) == CARDBROKER_CODE_OK);
        if (turns) begun = 1;
        cardbroker_turns_free(turns);
    } while (turns);
    return unused;
}

// Waits for the turn, which the session has; another thread stops the client.
static void *wait_for_turn(void *unused) {
    cardbroker_answers *answers;
    cardbroker_error *error;
    begun = 1;
    CHECK(cardbroker_transmit(client, READER, pair, NULL, &answers, &error) == CARDBROKER_CODE_CANCELLED);
    CHECK(answers == NULL && cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_UNKNOWN);
    CHECK(cardbroker_error_kind(error) == CARDBROKER_ERROR_KIND_CLOSED);
    cardbroker_error_free(error);
    return unused;
}

// Begins work in a thread, ends it from this one, and waits for less than the work would last.
static void ended(void *(*work)(void *), void (*end)(void)) {
    pthread_t thread;
    const struct timespec pause = {0, 1000000};
    begun = 0;
    CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
    while (!begun) nanosleep(&pause, NULL);
    const time_t beginning = time(NULL);
    end();
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(time(NULL) - beginning < 4);
}

// Stops the client once its call waits for the turn, and looks at its next call.
static void stop_client(void) {
    cardbroker_readers *readers;
    cardbroker_session *other;
    cardbroker_error *error;
    while (cardbroker_session_waiters(session) == 0) {
        // The number arrives with an answer.
        cardbroker_answers *answers;
        cardbroker_session_transmit(session, pair, CARDBROKER_RESTART_AUTOMATIC, &answers, &error);
        DONE(error);
        cardbroker_answers_free(answers);
    }
    cardbroker_client_stop(client);
    CHECK(cardbroker_client_readers(client, &readers, &error) == CARDBROKER_CODE_CANCELLED && readers == NULL);
    CHECK(cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_NOT_SENT);
    cardbroker_error_free(error);
    CHECK(cardbroker_open_session(client, READER, NULL, &other, NULL) == CARDBROKER_CODE_CANCELLED && !other);
}

static void abort_session(void) { cardbroker_session_abort(session); }

// Another thread waits without limit; short waits of this thread end in their time nevertheless.
static void stop_watch(void) {
    cardbroker_event *event;
    for (int silences = 0; silences < 3;) {
        CHECK(cardbroker_watch_next(watch, 100, &event, NULL) == CARDBROKER_CODE_OK);
        if (!event) ++silences;
        cardbroker_event_free(event);
    }
    cardbroker_watch_stop(watch);
}

static void stop_turn_watch(void) {
    cardbroker_turns *turns;
    for (int round = 0; round < 3; ++round) {
        CHECK(cardbroker_turn_watch_next(turn_watch, 100, &turns, NULL) == CARDBROKER_CODE_OK);
        cardbroker_turns_free(turns);
    }
    cardbroker_turn_watch_stop(turn_watch);
}

#ifndef _WIN32
static int is_forked(cardbroker_error *error) {
    const int is_it = cardbroker_error_kind(error) == CARDBROKER_ERROR_KIND_FORKED &&
                      cardbroker_error_code(error) == CARDBROKER_CODE_FAILED_PRECONDITION &&
                      cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_NOT_SENT;
    cardbroker_error_free(error);
    return is_it;
}

// What a forked child may do with the handles of its parent: nothing, but its own connection works.
static void child(void) {
    alarm(30);
    cardbroker_answers *answers;
    cardbroker_error *error;
    cardbroker_readers *readers;
    cardbroker_event *event;
    cardbroker_session *other;
    cardbroker_client_readers(client, &readers, &error);
    CHECK(readers == NULL && is_forked(error));
    cardbroker_transmit(client, READER, pair, NULL, &answers, &error);
    CHECK(answers == NULL && is_forked(error));
    cardbroker_open_session(client, READER, NULL, &other, &error);
    CHECK(other == NULL && is_forked(error));
    cardbroker_session_transmit(session, pair, CARDBROKER_RESTART_AUTOMATIC, &answers, &error);
    CHECK(answers == NULL && is_forked(error));
    cardbroker_session_close(session, &error);
    CHECK(is_forked(error));
    cardbroker_watch_next(watch, -1, &event, &error);
    CHECK(event == NULL && is_forked(error));
    CHECK(!cardbroker_session_is_open(session));
    cardbroker_session_abort(session);
    cardbroker_watch_stop(watch);
    cardbroker_session_free(session);
    cardbroker_watch_free(watch);
    cardbroker_client_free(client);

    client = connected();
    cardbroker_client_readers(client, &readers, &error);
    DONE(error);
    CHECK(cardbroker_readers_count(readers) == 2);
    cardbroker_readers_free(readers);
    cardbroker_client_free(client);
    // Without the handlers of exit, which belong to the parent.
    _exit(0);
}

static void fork_beside_handles(void) {
    cardbroker_error *error;
    session = opened();
    cardbroker_client_watch(client, &watch, &error);
    DONE(error);
    const pid_t id = fork();
    CHECK(id >= 0);
    if (id == 0) child();
    int status = 1;
    CHECK(waitpid(id, &status, 0) == id && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    // The parent's handles are as they were.
    run_pairs_in_session(NULL);
    cardbroker_session_close(session, &error);
    DONE(error);
    cardbroker_session_free(session);
    cardbroker_watch_free(watch);
}
#endif

int main(void) {
    cardbroker_error *error;
    client = connected();
    pair = cardbroker_commands_new();
    for (int command = 0; command < 2; ++command) {
        uint8_t bytes[16];
        const size_t length = from_hex(command == 0 ? SELECT : "00C0000013", bytes);
        CHECK(cardbroker_commands_add_apdu(pair, bytes, length) == CARDBROKER_CODE_OK);
        CHECK(cardbroker_commands_set_raw(pair, 1) == CARDBROKER_CODE_OK);
    }
    in_threads(run_pairs);
    session = opened();
    in_threads(run_pairs_in_session);
    cardbroker_session_close(session, &error);
    DONE(error);
    cardbroker_session_free(session);

    session = opened();
    ended(run_long, abort_session);
    cardbroker_session_free(session);
    cardbroker_client_watch(client, &watch, &error);
    DONE(error);
    ended(wait_for_event, stop_watch);
    cardbroker_watch_free(watch);
    cardbroker_client_watch_turn(client, NULL, &turn_watch, &error);
    DONE(error);
    ended(wait_for_turns, stop_turn_watch);
    cardbroker_turn_watch_free(turn_watch);

#ifndef _WIN32
    fork_beside_handles();
#endif

    session = opened();
    ended(wait_for_turn, stop_client);
    run_pairs_in_session(NULL);
    cardbroker_session_close(session, &error);
    DONE(error);
    cardbroker_session_free(session);
    cardbroker_commands_free(pair);
    cardbroker_client_free(client);
    puts("threads and forks: done");
}
