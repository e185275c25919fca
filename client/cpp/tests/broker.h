// A broker of one's own for each test: the real `cardbrokerd` as a process, on simulated readers and a socket in a
// folder of its own; and short words for what clients do.
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

/// The longest that anything may take that is not under test.
inline constexpr auto longest = 20s;

inline const std::string reader = "readers/simulated-reader-00";

inline const std::string select_application = "00A4040006F04341524401";
inline const std::string get_response = "00C0000013";
inline const std::string read_record = "00B2010410";
inline const std::string count_commands = "8010000004";
inline const std::string verify = "00200080083132333435363738";
inline const std::string read_protected = "00B0810005";
/// Malformed: promises more data than there is.
inline const std::string malformed = "00A40400050102";

/// A command that the card answers after so many milliseconds, at most 65,535.
std::string slow(int milliseconds);
/// A command that causes a fault of the card; server/backend/simulated/card/mod.rs has the table.
std::string fault(int kind, int a, int b);

/// Commands from hexadecimal text.
std::vector<Command> commands(std::initializer_list<std::string> texts);
/// The answer as hexadecimal text: data, a space, status word.
std::string told(const CommandResult& result);
std::vector<std::string> told(const Transmitted& transmitted);
/// What a call fails with: "REASON DELIVERY". Fails the test if it does not fail.
std::string refusal(const std::function<void()>& call);

/// A folder that goes with it.
class Folder {
public:
    Folder();
    ~Folder();
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

/// A running program with what it has printed. Destroying it kills it.
class Program {
public:
    /// `log` gets its standard output and error output.
    Program(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
            const std::filesystem::path& log);
    ~Program();

    /// Its exit code, or 128 and the signal; waits for it.
    int wait();
    /// Whether it has ended.
    bool has_ended();
    void signal(int number) const;

private:
    pid_t id_;
    int status_ = -1;
};

class Broker {
public:
    /// Two readers, a T=1 card in the first and a T=0 card in the second.
    Broker();
    ~Broker();

    std::string endpoint() const { return "unix:" + (folder_.path() / "a b.sock").string(); }
    /// A client with a connection of its own, that does not wait long for a broker.
    Client client(const std::string& group = "") const;
    /// Kills it, as a crash would.
    void kill();
    /// Starts it with so many readers, and waits until it answers.
    void start(int readers = 2);

private:
    Folder folder_;
    std::unique_ptr<Program> program_;
};

/// Waits until something is so.
void until(const std::function<bool()>& is_so);

}  // namespace cardbroker::tests
