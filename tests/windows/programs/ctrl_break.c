// Starts a program in a process group of its own, and presses Ctrl-Break in it when its standard input
// ends. Exits with the program's exit code, or with 99 if the program does not end.
// Usage: ctrl-break PROGRAM [ARGUMENT ...]; no argument has quotation marks.
#include <stdio.h>
#include <string.h>
#include <windows.h>

enum { NOT_ENDED = 99, FAILED = 98, PATIENCE_MS = 30000 };

static int failed(const char *step)
{
    fprintf(stderr, "ctrl-break: %s: error %lu\n", step, GetLastError());
    return FAILED;
}

int main(int argc, char **argv)
{
    static char line[4096];
    for (int i = 1; i < argc; i++) {
        size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, "%s\"%s\"", used == 0 ? "" : " ", argv[i]);
    }
    // The standard output stays where it is; only the events need a console.
    if (GetConsoleWindow() == NULL)
        AllocConsole();
    STARTUPINFOA startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
    startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    PROCESS_INFORMATION process;
    if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, CREATE_NEW_PROCESS_GROUP, NULL, NULL, &startup, &process))
        return failed("CreateProcess");
    while (getchar() != EOF)
        ;
    if (!GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, process.dwProcessId))
        return failed("GenerateConsoleCtrlEvent");
    DWORD code = NOT_ENDED;
    if (WaitForSingleObject(process.hProcess, PATIENCE_MS) != WAIT_OBJECT_0)
        TerminateProcess(process.hProcess, NOT_ENDED);
    else if (!GetExitCodeProcess(process.hProcess, &code))
        return failed("GetExitCodeProcess");
    return (int)code;
}
