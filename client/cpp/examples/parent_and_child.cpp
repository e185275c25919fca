// A parent and a child process share one card: the child uses the PIN that the parent has verified.
//
// Between isolation groups the broker resets the card, so that no program uses the verified PIN of another. The members
// of a group share a random key: the parent makes it and passes it on in CARDBROKER_GROUP.
#include <cardbroker/cardbroker.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

using cardbroker::ApduBytes;
using cardbroker::Client;

namespace {

const ApduBytes select_application = ApduBytes::from_hex("00 A4 04 00 06 F0 43 41 52 44 01");
const ApduBytes verify_pin = ApduBytes::from_hex("00 20 00 80 08 31 32 33 34 35 36 37 38");
const ApduBytes read_protected = ApduBytes::from_hex("00 B0 81 00 20");

std::string random_key() {
    static constexpr char digits[] = "0123456789abcdef";
    std::random_device random;
    std::string key;
    for (int count = 0; count < 32; ++count) key += digits[random() % 16];
    return key;
}

int child(const std::string& reader) {
    const Client client;  // Takes the group from the environment.
    const auto answer = client.transmit(reader, {select_application, read_protected}).results[1];
    if (answer.status_word() != 0x9000) {
        std::cout << "child: refused: " << cardbroker::meaning(answer.status_word()).value_or("unknown status word")
                  << '\n';
        return 1;
    }
    std::cout << "child: " << std::string(answer.data().begin(), answer.data().end()) << '\n';
    return 0;
}

int parent(char* program, const std::string& reader) {
    setenv("CARDBROKER_GROUP", random_key().c_str(), 1);
    const Client client;
    client.transmit(reader, {select_application, verify_pin});
    std::cout << "parent: the PIN is verified" << std::endl;

    // The child must start a program of its own, because a fork alone would share the connection.
    const pid_t id = fork();
    if (id < 0) return 1;
    if (id == 0) {
        execl("/proc/self/exe", program, reader.c_str(), "--child", nullptr);
        _exit(127);
    }
    // The parent keeps using the card meanwhile; its units and the child's take turns.
    for (int turn = 0; turn < 20; ++turn) client.transmit(reader, {select_application, read_protected});
    int status = 0;
    waitpid(id, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace

int main(int count, char** arguments) try {
    if (count < 2) {
        std::cerr << "usage: parent_and_child READER\n";
        return 2;
    }
    return count > 2 ? child(arguments[1]) : parent(arguments[0], arguments[1]);
} catch (const cardbroker::Error& error) {
    std::cerr << error.what() << " (" << error.delivery() << ")\n";
    return 1;
}
