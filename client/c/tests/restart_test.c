// A broker that is killed while threads send to it: calls fail, and the program lives. The arguments are the command
// that starts the broker at the endpoint of the environment.
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define ROUNDS 20
#define THREADS 8
#define APDU_BYTES 60000

static cardbroker_client *client;
static cardbroker_commands *unit;
static atomic_int answered;

static pid_t started(char **command) {
    const pid_t id = fork();
    CHECK(id >= 0);
    if (id == 0) {
        // Ends the broker of a test that has failed.
        alarm(120);
        execv(command[0], command);
        _exit(127);
    }
    return id;
}

// Sends long commands until one fails. Its delivery is one of those that a lost connection leaves.
static void *send_until_failure(void *unused) {
    cardbroker_answers *answers;
    cardbroker_error *error;
    while (cardbroker_transmit(client, READER, unit, NULL, &answers, &error) == CARDBROKER_CODE_OK) {
        ++answered;
        cardbroker_answers_free(answers);
    }
    CHECK(answers == NULL && cardbroker_error_kind(error) != CARDBROKER_ERROR_KIND_INVALID);
    CHECK(cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_UNKNOWN ||
          cardbroker_error_delivery(error) == CARDBROKER_DELIVERY_NOT_SENT);
    cardbroker_error_free(error);
    return unused;
}

int main(int count, char **arguments) {
    // The default of a program that does not know of the signal. The parent of this one may ignore it.
    signal(SIGPIPE, SIG_DFL);
    const char *endpoint = getenv("CARDBROKER_ENDPOINT");
    CHECK(count > 1 && endpoint && strncmp(endpoint, "unix:", 5) == 0);
    static uint8_t apdu[APDU_BYTES];
    unit = cardbroker_commands_new();
    CHECK(cardbroker_commands_add_apdu(unit, apdu, sizeof apdu) == CARDBROKER_CODE_OK);
    CHECK(cardbroker_commands_set_raw(unit, 1) == CARDBROKER_CODE_OK);
    cardbroker_connect_options *options = cardbroker_connect_options_new();
    for (int round = 0; round < ROUNDS; ++round) {
        pthread_t threads[THREADS];
        cardbroker_error *error;
        const struct timespec pause = {0, 1000000};
        const pid_t broker = started(arguments + 1);
        cardbroker_connect_options_set_connect_timeout_ms(options, 20000);
        cardbroker_connect(options, &client, &error);
        DONE(error);
        answered = 0;
        for (int number = 0; number < THREADS; ++number) {
            CHECK(pthread_create(&threads[number], NULL, send_until_failure, NULL) == 0);
        }
        while (answered < THREADS + round) nanosleep(&pause, NULL);
        CHECK(kill(broker, SIGKILL) == 0 && waitpid(broker, NULL, 0) == broker);
        unlink(endpoint + 5);
        for (int number = 0; number < THREADS; ++number) CHECK(pthread_join(threads[number], NULL) == 0);
        cardbroker_client_free(client);
    }
    cardbroker_connect_options_free(options);
    cardbroker_commands_free(unit);
    puts("a killed broker: done");
}
