// The test program; it ignores the user's environment variables for brokers.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>

int main(int count, char** arguments) {
    for (const char* name : {"CARDBROKER_ENDPOINT", "CARDBROKER_GROUP", "CARDBROKER_TOKEN_FILE"}) unsetenv(name);
    return doctest::Context(count, arguments).run();
}
