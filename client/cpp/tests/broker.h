// A private broker for each test: the real `cardbrokerd` as a process, with simulated readers and a socket in a
// temporary folder; and helpers for the calls of clients.
#pragma once

#include <cardbroker/cardbroker.h>
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

namespace cardbroker::tests {

using namespace std::chrono_literals;

/// The longest wait for steps that are not under test.
inline constexpr auto longest = 20s;

inline const std::string reader = "readers/simulated-reader-00";

inline const std::string select_application = "00A4040006F04341524401";
inline const std::string get_response = "00C0000013";
inline const std::string read_record = "00B2010410";
inline const std::string count_commands = "8010000004";
inline const std::string verify = "00200080083132333435363738";
inline const std::string read_protected = "00B0810005";
/// A malformed APDU: Lc is larger than the data.
inline const std::string malformed = "00A40400050102";

/// A command that the card answers after this time in milliseconds, at most 65,535.
std::string slow(int milliseconds);
/// A command that triggers a fault of the simulated card.
std::string fault(int kind, int a, int b);

/// Makes commands from hexadecimal texts.
std::vector<Command> commands(std::initializer_list<std::string> texts);
/// Converts an answer to hexadecimal text: data, a space, status word.
std::string texts(const CommandResult& result);
std::vector<std::string> texts(const Transmitted& transmitted);
/// The failure of a call: "REASON DELIVERY". Fails the test if the call succeeds.
std::string refusal(const std::function<void()>& call);

/// A temporary folder; removed by the destructor.
class Folder {
public:
    Folder();
    ~Folder();
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

/// A running program; killed by the destructor.
class Program {
public:
    /// `log` receives the standard output and the standard error.
    Program(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
            const std::filesystem::path& log);
    ~Program();

    /// Waits for the end; returns the exit code, or 128 plus the signal.
    int wait();
    /// Whether the program has ended.
    bool has_ended();
    void signal(int number) const;

private:
    pid_t id_;
    int status_ = -1;
};

class Broker {
public:
    /// Starts a broker with two readers, a T=1 card in the first and a T=0 card in the second.
    Broker();
    ~Broker();

    std::string endpoint() const { return "unix:" + (folder_.path() / "a b.sock").string(); }
    /// Makes a client with a short connect timeout.
    Client client(const std::string& group = "") const;
    /// Kills the broker without a drain.
    void kill();
    /// Starts the broker with this number of readers and waits until it answers.
    void start(int readers = 2);

private:
    Folder folder_;
    std::unique_ptr<Program> program_;
};

/// Waits until the condition is true, with a limit.
void until(const std::function<bool()>& is_so);

}  // namespace cardbroker::tests
