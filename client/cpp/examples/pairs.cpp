// Runs pairs of SELECT and GET RESPONSE and counts the broken pairs: the answer that SELECT offers (61 xx) is lost (6D
// 00) if any other command reaches the card before GET RESPONSE. The time begins with the first turn, so that several
// programs on one card measure the same period.
#include <cardbroker/cardbroker.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

using cardbroker::ApduBytes;
using cardbroker::Client;
using cardbroker::Command;

namespace {

const ApduBytes select_command = ApduBytes::from_hex("00A4040006F0434152440100");
const ApduBytes get_response = ApduBytes::from_hex("00C0000013");
const ApduBytes read_protected = ApduBytes::from_hex("00B0810005");

constexpr char usage[] =
    "usage: pairs READER --seconds S [--session] [--protected]  (--protected: read the file behind the PIN)\n"
    "       pairs READER --hold\n";

struct Arguments {
    std::string reader;
    double seconds = 0;
    bool session = false;
    bool is_protected = false;
    bool hold = false;
};

Arguments parse(int count, char** values) {
    Arguments arguments;
    for (int index = 1; index < count; ++index) {
        const std::string value = values[index];
        if (value == "--session") {
            arguments.session = true;
        } else if (value == "--protected") {
            arguments.is_protected = true;
        } else if (value == "--hold") {
            arguments.hold = true;
        } else if (value == "--seconds" && index + 1 < count) {
            arguments.seconds = std::stod(values[++index]);
        } else if (arguments.reader.empty() && value.rfind("--", 0) != 0) {
            arguments.reader = value;
        } else {
            throw std::invalid_argument(value);
        }
    }
    if (arguments.reader.empty()) throw std::invalid_argument("no reader");
    return arguments;
}

/// Runs a pair as one unit; returns whether it is whole.
bool unit_is_whole(const Client& client, const std::string& reader, const ApduBytes& second) try {
    const auto unit = client.transmit(reader, {Command::raw(select_command), Command::raw(second)});
    return unit.results.back().status_word() == 0x9000;
} catch (const cardbroker::Stopped&) {
    return false;
}

/// Runs a pair in a session; returns whether it is whole.
bool session_is_whole(const Client& client, const std::string& reader, const ApduBytes& second) {
    auto session = client.open_session(reader);
    session.transmit({Command::raw(select_command)});
    const auto answer = session.transmit({Command::raw(second)});
    session.close();
    return answer.results.back().status_word() == 0x9000;
}

void hold(const Client& client, const std::string& reader) {
    auto session = client.open_session(reader);
    session.transmit({Command::raw(select_command)});
    std::cout << "{\"holding\": true}" << std::endl;
    while (session.is_open()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

void run(const Client& client, const Arguments& arguments) {
    using Clock = std::chrono::steady_clock;
    const auto is_whole = arguments.session ? session_is_whole : unit_is_whole;
    const ApduBytes& second = arguments.is_protected ? read_protected : get_response;
    const auto time = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(arguments.seconds));
    std::optional<Clock::time_point> end;
    int pairs = 0;
    int broken = 0;
    while (!end || Clock::now() < *end) {
        broken += is_whole(client, arguments.reader, second) ? 0 : 1;
        ++pairs;
        if (!end) end = Clock::now() + time;
    }
    std::cout << "{\"pairs\": " << pairs << ", \"broken\": " << broken << "}" << std::endl;
}

}  // namespace

int main(int count, char** values) try {
    const Arguments arguments = parse(count, values);
    const Client client;
    if (arguments.hold) {
        hold(client, arguments.reader);
    } else {
        run(client, arguments);
    }
} catch (const std::invalid_argument& error) {
    std::cerr << error.what() << '\n' << usage;
    return 2;
} catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
