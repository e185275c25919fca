// Gives pcsc-lite's library the habits of other systems' PC/SC, in a process that preloads this. `habits.rs` describes
// them, chooses them by PCSC_HABITS (names with commas between), and names a folder by PCSC_HABITS_FOLDER: the counts
// of calls are in its file `counts`, and while it has a file `unplugged`, no reader counts as plugged in.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <winscard.h>

// In the order of `habits.rs`.
enum habit {
    DEAD_HANDLE,
    SERVICE_STOPS,
    RETURNS_AT_ONCE,
    NO_ANNOUNCER,
    ONE_PROTOCOL,
    DIRECT_EXCLUDES,
    SHORT_TRANSACTION,
    DEAD_CONTEXT,
    REMOVED_IN_FLIGHT,
    HABITS
};
static const char *const HABIT_NAMES[HABITS] = {
    "dead-handle",  "service-stops",   "returns-at-once",   "no-announcer",
    "one-protocol", "direct-excludes", "short-transaction", "dead-context",
    "removed-in-flight",
};

// In the order of `habits.rs`.
enum call { ESTABLISH, LIST, CHANGE, CONNECT, RECONNECT, STATUS, TRANSMIT, BEGIN, CALLS };

static const char ANNOUNCER[] = "\\\\?PnP?\\Notification";
// How long a wait for a change goes on without a look at the service, in ms.
static const DWORD SLICE = 50;
// How long a transaction may idle, in s.
static const time_t MAX_IDLE = 5;
// How long the removal of a card may take to be noticed after a command has failed, and the time between two looks.
static const struct timespec LOOK = {.tv_nsec = 20000000};
enum { MOST_THINGS = 1024, MOST_STATES = 64, MOST_LOOKS = 50 };
// The system's own code for a handle that it does not know, which is none of PC/SC's.
static const LONG ERROR_INVALID_HANDLE = 6;

// A context or a handle of a card, by its number in the library.
struct thing {
    LONG id;
    // The run of the service in which it was made.
    unsigned run;
    // Of a context: whether it waits for a change, and whether that was cancelled.
    int waits, cancelled;
    // Of a handle: whether its card has left, whether its last connection or reset succeeded, and its protocol.
    int dead, reset_worked;
    DWORD protocol;
    // Of a handle in a transaction: the time of its last call, in s; else 0.
    time_t transaction;
};

static int has[HABITS];
static char unplugged[4096];
static _Atomic uint64_t nowhere[CALLS + HABITS];
static _Atomic uint64_t *counts = nowhere;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct thing contexts[MOST_THINGS], handles[MOST_THINGS];
static unsigned run = 1;
static int was_stopped;

__attribute__((constructor)) static void begin(void) {
    const char *names = getenv("PCSC_HABITS"), *folder = getenv("PCSC_HABITS_FOLDER");
    for (int habit = 0; names && habit < HABITS; habit++)
        has[habit] = strstr(names, HABIT_NAMES[habit]) != NULL;
    if (!folder)
        return;
    char path[4096];
    snprintf(path, sizeof path, "%s/counts", folder);
    snprintf(unplugged, sizeof unplugged, "%s/unplugged", folder);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof nowhere) != 0)
        abort();
    void *shared = mmap(NULL, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED)
        abort();
    counts = shared;
    close(file);
}

// The library's own function of this name.
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void count(enum call call) { atomic_fetch_add(&counts[call], 1); }

// Counts that a habit has shown, and returns its answer.
static LONG show(enum habit habit, LONG answer) {
    atomic_fetch_add(&counts[CALLS + habit], 1);
    return answer;
}

static struct thing *find(struct thing *things, LONG id) {
    for (int i = 0; i < MOST_THINGS; i++)
        if (things[i].id == id)
            return &things[i];
    return NULL;
}

static struct thing *add(struct thing *things, LONG id) {
    struct thing *place = find(things, 0);
    if (!place)
        abort();
    *place = (struct thing){.id = id, .run = run};
    return place;
}

static void forget(struct thing *things, LONG id) {
    pthread_mutex_lock(&lock);
    struct thing *thing = find(things, id);
    if (thing)
        memset(thing, 0, sizeof *thing);
    pthread_mutex_unlock(&lock);
}

// Whether the service does not run now. The caller has the lock.
static int is_stopped(void) {
    int stopped = has[SERVICE_STOPS] && access(unplugged, F_OK) == 0;
    run += stopped && !was_stopped;
    return was_stopped = stopped;
}

// Whether the service that made this has stopped.
static int has_ended(struct thing *things, LONG id) {
    pthread_mutex_lock(&lock);
    struct thing *thing = find(things, id);
    int ended = is_stopped() || (thing && thing->run != run);
    pthread_mutex_unlock(&lock);
    return ended;
}

// The answer of a call on a context whose service has stopped.
static LONG ended_context(void) {
    LONG answer = show(SERVICE_STOPS, SCARD_E_SERVICE_STOPPED);
    return has[DEAD_CONTEXT] ? show(DEAD_CONTEXT, ERROR_INVALID_HANDLE) : answer;
}

LONG SCardEstablishContext(DWORD scope, LPCVOID one, LPCVOID two, LPSCARDCONTEXT context) {
    count(ESTABLISH);
    pthread_mutex_lock(&lock);
    int stopped = is_stopped();
    pthread_mutex_unlock(&lock);
    if (stopped)
        return show(SERVICE_STOPS, SCARD_E_NO_SERVICE);
    LONG answer = REAL(SCardEstablishContext)(scope, one, two, context);
    pthread_mutex_lock(&lock);
    if (answer == SCARD_S_SUCCESS)
        add(contexts, *context);
    pthread_mutex_unlock(&lock);
    return answer;
}

LONG SCardReleaseContext(SCARDCONTEXT context) {
    forget(contexts, context);
    return REAL(SCardReleaseContext)(context);
}

LONG SCardListReaders(SCARDCONTEXT context, LPCSTR groups, LPSTR readers, LPDWORD length) {
    count(LIST);
    if (has_ended(contexts, context))
        return ended_context();
    return REAL(SCardListReaders)(context, groups, readers, length);
}

LONG SCardCancel(SCARDCONTEXT context) {
    pthread_mutex_lock(&lock);
    struct thing *thing = find(contexts, context);
    if (thing && thing->waits)
        thing->cancelled = 1;
    pthread_mutex_unlock(&lock);
    return REAL(SCardCancel)(context);
}

// Marks a context as waiting or not; returns whether the wait was cancelled.
static int set_waits(SCARDCONTEXT context, int waits) {
    pthread_mutex_lock(&lock);
    struct thing *thing = find(contexts, context);
    int cancelled = thing && thing->cancelled;
    if (thing) {
        thing->waits = waits;
        thing->cancelled = 0;
    }
    pthread_mutex_unlock(&lock);
    return cancelled;
}

// Waits in slices, and looks at the service after each.
static LONG wait_for_change(SCARDCONTEXT context, DWORD timeout, SCARD_READERSTATE *states, DWORD number) {
    set_waits(context, 1);
    for (;;) {
        DWORD slice = has[SERVICE_STOPS] && timeout > SLICE ? SLICE : timeout;
        LONG answer = REAL(SCardGetStatusChange)(context, slice, states, number);
        if (has_ended(contexts, context)) {
            set_waits(context, 0);
            return ended_context();
        }
        int is_last = answer != SCARD_E_TIMEOUT || slice == timeout;
        if (set_waits(context, !is_last))
            return SCARD_E_CANCELLED;
        if (is_last)
            return answer;
        if (timeout != INFINITE)
            timeout -= slice;
    }
}

// Answers at once that the announcer is an unknown reader, with the present state of the others.
static LONG change_without_announcer(SCARDCONTEXT context, SCARD_READERSTATE *states, DWORD number) {
    SCARD_READERSTATE others[MOST_STATES];
    DWORD count = 0;
    for (DWORD i = 0; i < number; i++)
        if (strcmp(states[i].szReader, ANNOUNCER) != 0)
            others[count++] = states[i];
    LONG answer = count ? REAL(SCardGetStatusChange)(context, 0, others, count) : SCARD_E_TIMEOUT;
    if (answer != SCARD_S_SUCCESS && answer != SCARD_E_TIMEOUT)
        return answer;
    for (DWORD i = 0, other = 0; i < number; i++) {
        if (strcmp(states[i].szReader, ANNOUNCER) == 0)
            states[i].dwEventState = SCARD_STATE_CHANGED | SCARD_STATE_UNKNOWN;
        else
            states[i] = others[other++];
    }
    return show(NO_ANNOUNCER, SCARD_S_SUCCESS);
}

LONG SCardGetStatusChange(SCARDCONTEXT context, DWORD timeout, SCARD_READERSTATE *states, DWORD number) {
    count(CHANGE);
    if (has_ended(contexts, context))
        return ended_context();
    if (number > MOST_STATES)
        abort();
    DWORD known[MOST_STATES];
    int names_announcer = 0;
    for (DWORD i = 0; i < number; i++) {
        known[i] = states[i].dwCurrentState;
        if (has[RETURNS_AT_ONCE])
            states[i].dwCurrentState = SCARD_STATE_UNAWARE;
        names_announcer |= strcmp(states[i].szReader, ANNOUNCER) == 0;
    }
    LONG answer = has[NO_ANNOUNCER] && names_announcer ? change_without_announcer(context, states, number)
                                                       : wait_for_change(context, timeout, states, number);
    for (DWORD i = 0; i < number; i++)
        states[i].dwCurrentState = known[i];
    if (has[RETURNS_AT_ONCE] && timeout > 0 && answer == SCARD_S_SUCCESS)
        show(RETURNS_AT_ONCE, answer);
    return answer;
}

LONG SCardConnect(SCARDCONTEXT context, LPCSTR reader, DWORD mode, DWORD protocols, LPSCARDHANDLE handle,
                  LPDWORD protocol) {
    count(CONNECT);
    if (has_ended(contexts, context))
        return ended_context();
    if (has[DIRECT_EXCLUDES] && mode == SCARD_SHARE_DIRECT) {
        SCARD_READERSTATE state = {.szReader = reader, .dwCurrentState = SCARD_STATE_UNAWARE};
        LONG answer = REAL(SCardGetStatusChange)(context, 0, &state, 1);
        if (answer == SCARD_S_SUCCESS && state.dwEventState & (SCARD_STATE_INUSE | SCARD_STATE_EXCLUSIVE))
            return show(DIRECT_EXCLUDES, SCARD_E_SHARING_VIOLATION);
    }
    LONG answer = REAL(SCardConnect)(context, reader, mode, protocols, handle, protocol);
    if (answer == SCARD_S_SUCCESS) {
        pthread_mutex_lock(&lock);
        struct thing *thing = add(handles, *handle);
        thing->protocol = *protocol;
        // Without a card, the handle has none to lose.
        thing->reset_worked = mode != SCARD_SHARE_DIRECT;
        pthread_mutex_unlock(&lock);
    }
    return answer;
}

// The answer of a call on a handle that is refused before the library sees it; SCARD_S_SUCCESS if it is not.
static LONG refuse(SCARDHANDLE handle) {
    if (has_ended(handles, handle))
        return show(SERVICE_STOPS, SCARD_E_SERVICE_STOPPED);
    pthread_mutex_lock(&lock);
    struct thing *thing = find(handles, handle);
    int dead = thing && thing->dead, too_late = 0;
    if (thing && thing->transaction) {
        time_t now = time(NULL);
        too_late = has[SHORT_TRANSACTION] && now - thing->transaction > MAX_IDLE;
        thing->transaction = too_late ? 0 : now;
    }
    pthread_mutex_unlock(&lock);
    if (too_late) {
        REAL(SCardEndTransaction)(handle, SCARD_RESET_CARD);
        return show(SHORT_TRANSACTION, SCARD_W_RESET_CARD);
    }
    return dead ? show(DEAD_HANDLE, SCARD_W_REMOVED_CARD) : SCARD_S_SUCCESS;
}

// The answer of a call on a handle, from the library's answer: a handle whose card has left is dead from then on. After
// a removal the library reports the next card as a reset; after a reset that failed, too, and then nothing has left.
static LONG answer_of(SCARDHANDLE handle, LONG answer) {
    int has_left = answer == SCARD_W_REMOVED_CARD || answer == SCARD_E_NO_SMARTCARD;
    if (!has[DEAD_HANDLE] || !(has_left || answer == SCARD_W_RESET_CARD))
        return answer;
    pthread_mutex_lock(&lock);
    struct thing *thing = find(handles, handle);
    int dies = thing && (has_left || thing->reset_worked);
    if (dies)
        thing->dead = 1;
    pthread_mutex_unlock(&lock);
    return dies ? show(DEAD_HANDLE, SCARD_W_REMOVED_CARD) : answer;
}

LONG SCardReconnect(SCARDHANDLE handle, DWORD mode, DWORD protocols, DWORD start, LPDWORD protocol) {
    count(RECONNECT);
    LONG answer = refuse(handle);
    if (answer == SCARD_S_SUCCESS && has[DEAD_HANDLE]) {
        DWORD names = 0, state = 0, current = 0, atr = 0;
        answer = answer_of(handle, REAL(SCardStatus)(handle, NULL, &names, &state, &current, NULL, &atr));
        // Only a removal matters here: the reconnection shows the rest.
        answer = answer == SCARD_W_REMOVED_CARD ? answer : SCARD_S_SUCCESS;
    }
    if (answer != SCARD_S_SUCCESS)
        return answer;
    pthread_mutex_lock(&lock);
    struct thing *thing = find(handles, handle);
    DWORD current = thing ? thing->protocol : 0;
    pthread_mutex_unlock(&lock);
    int is_bound = has[ONE_PROTOCOL] && current != SCARD_PROTOCOL_UNDEFINED;
    if (is_bound && !(protocols & current))
        return show(ONE_PROTOCOL, SCARD_E_PROTO_MISMATCH);
    answer = REAL(SCardReconnect)(handle, mode, is_bound ? current : protocols, start, protocol);
    if (is_bound && answer == SCARD_E_PROTO_MISMATCH)
        show(ONE_PROTOCOL, answer);
    pthread_mutex_lock(&lock);
    thing = find(handles, handle);
    if (thing) {
        thing->reset_worked = answer == SCARD_S_SUCCESS;
        thing->protocol = answer == SCARD_S_SUCCESS ? *protocol : thing->protocol;
    }
    pthread_mutex_unlock(&lock);
    return answer;
}

LONG SCardStatus(SCARDHANDLE handle, LPSTR names, LPDWORD names_length, LPDWORD state, LPDWORD protocol, LPBYTE atr,
                 LPDWORD atr_length) {
    count(STATUS);
    LONG answer = refuse(handle);
    if (answer != SCARD_S_SUCCESS)
        return answer;
    return answer_of(handle, REAL(SCardStatus)(handle, names, names_length, state, protocol, atr, atr_length));
}

// Whether the card of a handle whose command has failed has left.
static int has_left(SCARDHANDLE handle) {
    for (int look = 0; look < MOST_LOOKS; look++) {
        DWORD names = 0, state = 0, current = 0, atr = 0;
        if (REAL(SCardStatus)(handle, NULL, &names, &state, &current, NULL, &atr) == SCARD_W_REMOVED_CARD)
            return 1;
        nanosleep(&LOOK, NULL);
    }
    return 0;
}

LONG SCardTransmit(SCARDHANDLE handle, const SCARD_IO_REQUEST *to, LPCBYTE command, DWORD length,
                   SCARD_IO_REQUEST *from, LPBYTE response, LPDWORD response_length) {
    count(TRANSMIT);
    LONG answer = refuse(handle);
    if (answer != SCARD_S_SUCCESS)
        return answer;
    answer = REAL(SCardTransmit)(handle, to, command, length, from, response, response_length);
    // Some drivers report success with no bytes.
    int has_failed = answer == SCARD_E_NOT_TRANSACTED || (answer == SCARD_S_SUCCESS && *response_length < 2);
    if (has[REMOVED_IN_FLIGHT] && has_failed && has_left(handle))
        answer = show(REMOVED_IN_FLIGHT, SCARD_W_REMOVED_CARD);
    return answer_of(handle, answer);
}

LONG SCardBeginTransaction(SCARDHANDLE handle) {
    count(BEGIN);
    LONG answer = refuse(handle);
    if (answer == SCARD_S_SUCCESS)
        answer = answer_of(handle, REAL(SCardBeginTransaction)(handle));
    pthread_mutex_lock(&lock);
    struct thing *thing = find(handles, handle);
    if (thing && answer == SCARD_S_SUCCESS)
        thing->transaction = time(NULL);
    pthread_mutex_unlock(&lock);
    return answer;
}

LONG SCardEndTransaction(SCARDHANDLE handle, DWORD end) {
    LONG answer = refuse(handle);
    pthread_mutex_lock(&lock);
    struct thing *thing = find(handles, handle);
    if (thing)
        thing->transaction = 0;
    pthread_mutex_unlock(&lock);
    return answer == SCARD_S_SUCCESS ? REAL(SCardEndTransaction)(handle, end) : answer;
}

LONG SCardDisconnect(SCARDHANDLE handle, DWORD end) {
    int ended = has_ended(handles, handle);
    forget(handles, handle);
    LONG answer = REAL(SCardDisconnect)(handle, end);
    return ended ? show(SERVICE_STOPS, SCARD_E_SERVICE_STOPPED) : answer;
}
