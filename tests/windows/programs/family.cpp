// A parent that starts a child, on Windows: both run pairs of SELECT and GET RESPONSE on one card, with winscard alone
// or through the broker. A pair is broken if the answer that SELECT offers (61 xx) is lost, because another program's
// command reached the card in between. Each prints a line of JSON.
#include <cardbroker.hpp>

#include <windows.h>
#include <winscard.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

const char usage[] =
    "usage: family direct|unit|session READER SECONDS [--parent]\n"
    "direct: winscard alone; unit, session: through the broker; --parent: start a child that does the same\n";

const std::array<BYTE, 12> select_command{0x00, 0xA4, 0x04, 0x00, 0x06, 0xF0, 'C', 'A', 'R', 'D', 0x01, 0x00};
const std::array<BYTE, 5> get_response{0x00, 0xC0, 0x00, 0x00, 0x13};
const std::size_t response_length = 0x13 + 2;

// Longest wait for a card.
constexpr auto patience = 30s;

struct Counts {
    int pairs = 0;
    int broken = 0;
};

// Runs pairs for a time that begins with the first one, so that programs that wait for one card measure one period.
template <typename Pair>
Counts count(std::chrono::seconds duration, Pair is_whole) {
    Counts counts;
    Clock::time_point end;
    do {
        counts.broken += !is_whole();
        if (++counts.pairs == 1) end = Clock::now() + duration;
    } while (Clock::now() < end);
    return counts;
}

// A failure of winscard that no other program's use of the card explains.
[[noreturn]] void fail(const char* call, LONG code) {
    char text[100];
    std::snprintf(text, sizeof text, "%s: %08lX", call, static_cast<unsigned long>(code));
    throw std::runtime_error(text);
}

// A card that is shared by winscard.
class DirectCard {
public:
    explicit DirectCard(const std::string& reader) {
        const LONG established = SCardEstablishContext(SCARD_SCOPE_SYSTEM, nullptr, nullptr, &context_);
        if (established != SCARD_S_SUCCESS) fail("SCardEstablishContext", established);
        const auto end = Clock::now() + patience;
        LONG connected;
        while ((connected = connect(reader)) != SCARD_S_SUCCESS) {
            if (Clock::now() > end) fail("SCardConnect", connected);
            Sleep(5);
        }
    }
    DirectCard(const DirectCard&) = delete;
    DirectCard& operator=(const DirectCard&) = delete;
    ~DirectCard() {
        SCardDisconnect(card_, SCARD_LEAVE_CARD);
        SCardReleaseContext(context_);
    }

    bool is_pair_whole() {
        std::array<BYTE, 300> answer;
        if (transmit(select_command, answer) != 2 || answer[0] != 0x61) return false;
        const DWORD length = transmit(get_response, answer);
        return length == response_length && answer[length - 2] == 0x90 && answer[length - 1] == 0x00;
    }

private:
    LONG connect(const std::string& reader) {
        return SCardConnectA(context_, reader.c_str(), SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1,
                             &card_, &protocol_);
    }

    // The length of the answer; 0 if another program has reset the card.
    template <std::size_t N>
    DWORD transmit(const std::array<BYTE, N>& command, std::array<BYTE, 300>& answer) {
        DWORD length = answer.size();
        const SCARD_IO_REQUEST request{protocol_, sizeof(SCARD_IO_REQUEST)};
        const LONG sent = SCardTransmit(card_, &request, command.data(), N, nullptr, answer.data(), &length);
        if (sent == SCARD_S_SUCCESS) return length;
        if (sent != SCARD_W_RESET_CARD) fail("SCardTransmit", sent);
        const LONG again = SCardReconnect(card_, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1,
                                          SCARD_LEAVE_CARD, &protocol_);
        if (again != SCARD_S_SUCCESS) fail("SCardReconnect", again);
        return 0;
    }

    SCARDCONTEXT context_ = 0;
    SCARDHANDLE card_ = 0;
    DWORD protocol_ = 0;
};

// Both commands as they are: otherwise the broker fetches the answer by itself.
const std::vector<cardbroker::Command>& raw_pair() {
    using cardbroker::ApduBytes;
    using cardbroker::Command;
    static const std::vector<Command> pair{Command::raw(ApduBytes(select_command.data(), select_command.size())),
                                           Command::raw(ApduBytes(get_response.data(), get_response.size()))};
    return pair;
}

bool is_whole(const cardbroker::Transmitted& answered) {
    const auto& last = answered.results.back();
    return last.status_word() == 0x9000 && last.data().size() == response_length - 2;
}

bool is_unit_whole(const cardbroker::Client& client, const std::string& reader) {
    cardbroker::TransmitOptions options;
    options.card = cardbroker::CardRequirement::Awaited;
    options.wait_timeout = patience;
    try {
        return is_whole(client.transmit(reader, raw_pair(), options));
    } catch (const cardbroker::Stopped&) {
        return false;
    }
}

// The commands of the pair in two calls, as of a program that decides after the first answer.
bool is_session_whole(const cardbroker::Client& client, const std::string& reader) {
    cardbroker::SessionOptions options;
    options.card = cardbroker::CardRequirement::Awaited;
    options.wait_timeout = patience;
    auto session = client.open_session(reader, options);
    bool whole = session.transmit({raw_pair()[0]}).results[0].status_word() == 0x6113;
    try {
        whole = is_whole(session.transmit({raw_pair()[1]})) && whole;
    } catch (const cardbroker::Stopped&) {
        whole = false;
    }
    session.close();
    return whole;
}

Counts run(const std::string& manner, const std::string& reader, std::chrono::seconds duration) {
    if (manner == "direct") {
        DirectCard card(reader);
        return count(duration, [&] { return card.is_pair_whole(); });
    }
    const cardbroker::Client client;
    if (manner == "session") return count(duration, [&] { return is_session_whole(client, reader); });
    return count(duration, [&] { return is_unit_whole(client, reader); });
}

// A child process with the same arguments but for `--parent`.
class Child {
public:
    Child(const std::string& manner, const std::string& reader, const std::string& seconds) {
        char path[MAX_PATH];
        if (GetModuleFileNameA(nullptr, path, MAX_PATH) == 0) throw std::runtime_error("no path of this program");
        std::string line = '"' + std::string(path) + "\" " + manner + " \"" + reader + "\" " + seconds;
        STARTUPINFOA startup{};
        startup.cb = sizeof startup;
        // It inherits standard output.
        if (!CreateProcessA(path, line.data(), nullptr, nullptr, TRUE, 0, nullptr, nullptr, &startup, &process_)) {
            throw std::runtime_error("cannot start the child");
        }
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        CloseHandle(process_.hThread);
        CloseHandle(process_.hProcess);
    }

    // Waits for the child's end; whether it succeeded.
    bool has_succeeded() const {
        DWORD code = 1;
        WaitForSingleObject(process_.hProcess, INFINITE);
        return GetExitCodeProcess(process_.hProcess, &code) && code == 0;
    }

private:
    PROCESS_INFORMATION process_{};
};

int family(const std::vector<std::string>& arguments) {
    const auto& [manner, reader, seconds] = std::tie(arguments[0], arguments[1], arguments[2]);
    const bool is_parent = arguments.size() == 4;
    std::optional<Child> child;
    if (is_parent) child.emplace(manner, reader, seconds);
    const Counts counts = run(manner, reader, std::chrono::seconds(std::stoi(seconds)));
    std::printf("{\"program\": \"%s\", \"pairs\": %d, \"broken\": %d}\n", is_parent ? "parent" : "child", counts.pairs,
                counts.broken);
    std::fflush(stdout);
    return child && !child->has_succeeded() ? 1 : 0;
}

}  // namespace

int main(int number, char** texts) {
    const std::vector<std::string> arguments(texts + 1, texts + number);
    if (arguments.size() < 3 || arguments.size() > 4 || (arguments.size() == 4 && arguments[3] != "--parent")) {
        std::fputs(usage, stderr);
        return 2;
    }
    try {
        return family(arguments);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
