// Sends a request to a service, and prints its state. For the stories: the `sc` of Wine knows neither a parameter
// change nor checkpoints. Usage: service-control SERVICE query|start|stop|paramchange
// Prints: STATE CHECKPOINT WAIT-HINT-IN-MS EXIT-CODE OWN-EXIT-CODE. Exits with 1 after an error, and prints its code.
#include <stdio.h>
#include <string.h>
#include <windows.h>

static int failed(const char *step)
{
    fprintf(stderr, "%s: error %lu\n", step, GetLastError());
    return 1;
}

static const char *name_of(DWORD state)
{
    static const char *const names[] = {"?", "STOPPED", "START_PENDING", "STOP_PENDING", "RUNNING"};
    return state < sizeof names / sizeof names[0] ? names[state] : names[0];
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: service-control SERVICE query|start|stop|paramchange\n");
        return 2;
    }
    SC_HANDLE manager = OpenSCManagerA(NULL, NULL, SC_MANAGER_CONNECT);
    if (manager == NULL)
        return failed("OpenSCManager");
    DWORD access = SERVICE_QUERY_STATUS | SERVICE_START | SERVICE_STOP | SERVICE_PAUSE_CONTINUE;
    SC_HANDLE service = OpenServiceA(manager, argv[1], access);
    if (service == NULL)
        return failed("OpenService");
    SERVICE_STATUS status;
    if (strcmp(argv[2], "start") == 0) {
        if (!StartServiceA(service, 0, NULL))
            return failed("StartService");
    } else if (strcmp(argv[2], "stop") == 0) {
        if (!ControlService(service, SERVICE_CONTROL_STOP, &status))
            return failed("ControlService");
    } else if (strcmp(argv[2], "paramchange") == 0) {
        if (!ControlService(service, SERVICE_CONTROL_PARAMCHANGE, &status))
            return failed("ControlService");
    }
    if (!QueryServiceStatus(service, &status))
        return failed("QueryServiceStatus");
    printf("%s %lu %lu %lu %lu\n", name_of(status.dwCurrentState), status.dwCheckPoint, status.dwWaitHint,
           status.dwWin32ExitCode, status.dwServiceSpecificExitCode);
    return 0;
}
