// Carries connections on a TCP port of 127.0.0.1 to named pipes, for clients on Linux. A connection begins with the
// name of a pipe and a line feed. The answer is '+' once the pipe is open, or '-' and the end; all later bytes go
// through unchanged, both ways. Usage: pipe-bridge. Prints its port, and ends when its standard input does.
#include <winsock2.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

enum { NAME_SIZE = 256, CHUNK = 65536, BUSY_PAUSE_MS = 5, BUSY_TRIES = 2000, STACK = 262144 };

// A connection and its pipe.
struct link {
    SOCKET client;
    HANDLE pipe;
    // Set when the client has ended.
    HANDLE ended;
};

// Waits for an operation on the pipe, of which `is_done` is the immediate result, or for the end of the client. Returns
// the number of bytes, 0 after a failure.
static DWORD finish(const struct link *link, BOOL is_done, OVERLAPPED *operation)
{
    if (!is_done && GetLastError() != ERROR_IO_PENDING)
        return 0;
    HANDLE events[] = {operation->hEvent, link->ended};
    if (!is_done && WaitForMultipleObjects(2, events, FALSE, INFINITE) != WAIT_OBJECT_0)
        CancelIo(link->pipe);
    DWORD count = 0;
    return GetOverlappedResult(link->pipe, operation, &count, TRUE) ? count : 0;
}

static BOOL send_all(SOCKET client, const char *bytes, DWORD count)
{
    while (count > 0) {
        int sent = send(client, bytes, (int)count, 0);
        if (sent <= 0)
            return FALSE;
        bytes += sent;
        count -= (DWORD)sent;
    }
    return TRUE;
}

static BOOL write_all(const struct link *link, const char *bytes, DWORD count, OVERLAPPED *operation)
{
    while (count > 0) {
        DWORD written = finish(link, WriteFile(link->pipe, bytes, count, NULL, operation), operation);
        if (written == 0)
            return FALSE;
        bytes += written;
        count -= written;
    }
    return TRUE;
}

// Carries from the pipe to the client.
static DWORD WINAPI answer(void *argument)
{
    const struct link *link = argument;
    OVERLAPPED operation = {.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL)};
    char *bytes = malloc(CHUNK);
    DWORD count;
    do {
        count = finish(link, ReadFile(link->pipe, bytes, CHUNK, NULL, &operation), &operation);
    } while (count > 0 && send_all(link->client, bytes, count));
    // Not the other direction: the system would answer its bytes by a reset, which can overtake the last answer.
    shutdown(link->client, SD_SEND);
    free(bytes);
    CloseHandle(operation.hEvent);
    return 0;
}

static BOOL read_name(SOCKET client, char *name)
{
    for (int length = 0; length < NAME_SIZE; length++) {
        if (recv(client, name + length, 1, 0) != 1)
            return FALSE;
        if (name[length] == '\n') {
            name[length] = '\0';
            return TRUE;
        }
    }
    return FALSE;
}

static HANDLE open_pipe(const char *name)
{
    HANDLE pipe;
    int tries = 0;
    // As a client of the project opens it: the server learns the user, but cannot act as the user.
    const DWORD flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
    while ((pipe = CreateFileA(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, flags, NULL)) ==
               INVALID_HANDLE_VALUE &&
           GetLastError() == ERROR_PIPE_BUSY && tries++ < BUSY_TRIES)
        Sleep(BUSY_PAUSE_MS);
    return pipe;
}

// Carries from the client to the pipe, until the client ends. Whatever the pipe no longer takes is dropped.
static void ask(const struct link *link)
{
    OVERLAPPED operation = {.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL)};
    char *bytes = malloc(CHUNK);
    BOOL is_open = TRUE;
    int count;
    while ((count = recv(link->client, bytes, CHUNK, 0)) > 0)
        is_open = is_open && write_all(link, bytes, (DWORD)count, &operation);
    free(bytes);
    CloseHandle(operation.hEvent);
}

static DWORD WINAPI carry(void *argument)
{
    struct link link = {.client = (SOCKET)argument};
    char name[NAME_SIZE];
    link.pipe = read_name(link.client, name) ? open_pipe(name) : INVALID_HANDLE_VALUE;
    if (link.pipe == INVALID_HANDLE_VALUE) {
        send(link.client, "-", 1, 0);
    } else {
        send(link.client, "+", 1, 0);
        link.ended = CreateEventA(NULL, TRUE, FALSE, NULL);
        HANDLE answers = CreateThread(NULL, STACK, answer, &link, 0, NULL);
        ask(&link);
        SetEvent(link.ended);
        WaitForSingleObject(answers, INFINITE);
        CloseHandle(answers);
        CloseHandle(link.ended);
        CloseHandle(link.pipe);
    }
    closesocket(link.client);
    return 0;
}

static DWORD WINAPI end_with_input(void *unused)
{
    (void)unused;
    while (getchar() != EOF) {
    }
    ExitProcess(0);
}

int main(void)
{
    WSADATA data;
    if (WSAStartup(MAKEWORD(2, 2), &data) != 0)
        return 1;
    SOCKET listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        fprintf(stderr, "no port: error %d\n", WSAGetLastError());
        return 1;
    }
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    CreateThread(NULL, STACK, end_with_input, NULL, 0, NULL);
    for (;;) {
        SOCKET client = accept(listener, NULL, NULL);
        if (client == INVALID_SOCKET)
            return 1;
        BOOL yes = TRUE;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, (const char *)&yes, sizeof yes);
        HANDLE thread = CreateThread(NULL, STACK, carry, (void *)client, 0, NULL);
        if (thread == NULL)
            closesocket(client);
        else
            CloseHandle(thread);
    }
}
