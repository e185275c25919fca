// APDU bytes are gone from this program's memory after the handles that held them were freed.
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <unistd.h>

#include "check.h"

// A command with a PIN that nothing else in memory looks like; each byte is masked, so that this table is no finding.
#define MASK 0x5A
#define LENGTH 13
static const uint8_t masked[LENGTH] = {0x5A, 0x7A, 0x5A, 0xDA, 0x52, 0x91, 0xC7, 0x3E, 0xE9, 0x15, 0xB8, 0x64, 0x8D};
// The part that is searched for: the PIN.
#define BEGIN 5

static int is_secret(const uint8_t *bytes) {
    for (size_t at = BEGIN; at < LENGTH; ++at) {
        if ((bytes[at - BEGIN] ^ MASK) != masked[at]) return 0;
    }
    return 1;
}

// Counts the secret in all memory of this program that it may write.
static int findings(void) {
    static uint8_t page[65536];
    const size_t width = LENGTH - BEGIN;
    int found = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    const int memory = open("/proc/self/mem", O_RDONLY);
    CHECK(maps && memory >= 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char rights[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) != 3 || rights[0] != 'r' || rights[1] != 'w') continue;
        // Each step looks at the end of the one before again.
        for (unsigned long at = from; at + width <= to; at += sizeof page - width) {
            const size_t wanted = to - at < sizeof page ? to - at : sizeof page;
            // The buffer of this search is no finding.
            const uintptr_t own = (uintptr_t)page;
            const ssize_t count = pread(memory, page, wanted, (off_t)at);
            for (ssize_t start = 0; start + (ssize_t)width <= count; ++start) {
                const unsigned long address = at + (unsigned long)start;
                if (address >= own && address < own + sizeof page) continue;
                found += is_secret(page + start);
            }
            if (wanted < sizeof page) break;
        }
    }
    close(memory);
    fclose(maps);
    memset(page, 0, sizeof page);
    return found;
}

static void send_secret(cardbroker_client *client, int through_session) {
    uint8_t apdu[LENGTH];
    cardbroker_answers *answers;
    cardbroker_error *error;
    cardbroker_commands *commands = cardbroker_commands_new();
    for (size_t at = 0; at < LENGTH; ++at) apdu[at] = masked[at] ^ MASK;
    // An echo gives the secret back in the answer.
    const uint8_t echo[5] = {0x80, 0x14, 0x00, 0x00, LENGTH - BEGIN};
    memcpy(apdu, echo, sizeof echo);
    CHECK(cardbroker_commands_add_apdu(commands, apdu, sizeof apdu) == CARDBROKER_CODE_OK);
    CHECK(findings() > 1);
    volatile uint8_t *const bytes = apdu;
    for (size_t at = 0; at < LENGTH; ++at) bytes[at] = 0;
    CHECK(findings() == 1);
    if (through_session) {
        cardbroker_session *session;
        cardbroker_open_session(client, READER, NULL, &session, &error);
        DONE(error);
        cardbroker_session_transmit(session, commands, CARDBROKER_RESTART_AUTOMATIC, &answers, &error);
        DONE(error);
        cardbroker_session_close(session, &error);
        DONE(error);
        cardbroker_session_free(session);
    } else {
        cardbroker_transmit(client, READER, commands, NULL, &answers, &error);
        DONE(error);
    }
    size_t length = 0;
    CHECK(is_secret(cardbroker_answers_data(answers, 0, &length)) && length == LENGTH - BEGIN);
    cardbroker_commands_free(commands);
    cardbroker_answers_free(answers);
}

int main(void) {
    for (int through_session = 0; through_session < 2; ++through_session) {
        cardbroker_client *client = connected();
        send_secret(client, through_session);
        // The connection's buffers keep what passed last, until other bytes pass or it ends.
        cardbroker_client_free(client);
        const int found = findings();
        if (found > 0) fprintf(stderr, "the secret is in memory %d times, session: %d\n", found, through_session);
        CHECK(found == 0);
    }
    puts("wiping: done");
}
