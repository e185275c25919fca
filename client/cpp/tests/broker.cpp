// A private broker for each test: its start, its wait and its end.
#include "broker.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace cardbroker::tests {

namespace {

template <typename... Values>
std::string format(const char* form, Values... values) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), form, values...);
    return text.data();
}

bool answers(const std::string& socket) {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket.copy(address.sun_path, sizeof address.sun_path - 1);
    const bool connected = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(descriptor);
    return connected;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

}  // namespace

std::string slow(int milliseconds) { return format("8016000002%04X", milliseconds); }
std::string fault(int kind, int a, int b) { return format("80F0%02X0004%04X%04X", kind, a, b); }

std::vector<Command> commands(std::initializer_list<std::string> texts) {
    std::vector<Command> result;
    for (const std::string& text : texts) result.emplace_back(ApduBytes::from_hex(text));
    return result;
}

std::string texts(const CommandResult& result) {
    std::string text;
    for (const std::uint8_t byte : result.data()) text += format("%02X", byte);
    return text + (text.empty() ? "" : " ") + format("%04X", result.status_word());
}

std::vector<std::string> texts(const Transmitted& transmitted) {
    std::vector<std::string> answers;
    for (const CommandResult& result : transmitted.results) answers.push_back(texts(result));
    return answers;
}

std::string refusal(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        const std::string& reason = error.failure().reason_name;
        return (reason.empty() ? "no reason" : reason) + ' ' + to_string(error.delivery());
    }
    FAIL("the call did not fail");
    return {};
}

void until(const std::function<bool()>& is_so) {
    const auto deadline = std::chrono::steady_clock::now() + longest;
    while (!is_so()) {
        if (std::chrono::steady_clock::now() > deadline)
            throw std::runtime_error("the condition did not come true in time");
        std::this_thread::sleep_for(2ms);
    }
}

Folder::Folder() {
    std::string path = (std::filesystem::temp_directory_path() / "cardbroker-XXXXXX").string();
    if (!mkdtemp(path.data())) throw std::runtime_error("no temporary folder");
    path_ = path;
}

Folder::~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

Program::Program(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
                 const std::filesystem::path& log) {
    // Allocates before the fork, because the child of a program with threads must not allocate.
    std::vector<std::string> words = arguments;
    std::vector<std::string> variables;
    for (const auto& [name, value] : environment) variables.push_back(name + '=' + value);
    const std::vector<char*> argv = pointers(words);
    const std::vector<char*> envp = pointers(variables);
    const pid_t parent = getpid();
    id_ = fork();
    if (id_ < 0) throw std::runtime_error("cannot fork");
    if (id_ > 0) return;
    // The program must not outlive the tests.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(out, 1);
    dup2(out, 2);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
}

Program::~Program() {
    if (status_ >= 0) return;
    ::kill(id_, SIGKILL);
    wait();
}

int Program::wait() {
    until([this] { return has_ended(); });
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

bool Program::has_ended() { return status_ >= 0 || waitpid(id_, &status_, WNOHANG) == id_; }

void Program::signal(int number) const { ::kill(id_, number); }

Broker::Broker() { start(); }

Broker::~Broker() {
    kill();
    if (std::getenv("BROKER_LOG")) std::cerr << std::ifstream(folder_.path() / "log").rdbuf();
}

Client Broker::client(const std::string& group) const {
    ConnectOptions options;
    options.group = group;
    options.connect_timeout = 200ms;
    return Client(Endpoint(endpoint()), options);
}

void Broker::kill() { program_.reset(); }

void Broker::start(int readers) {
    const char* program = std::getenv("CARDBROKERD");
    if (!program) throw std::runtime_error("CARDBROKERD must be the path of cardbrokerd");
    const std::string socket = folder_.path() / "a b.sock";
    program_ = std::make_unique<Program>(
        // Ignores the configuration and the folder of the user.
        std::vector<std::string>{program, "--config", "/dev/null", "--simulate", std::to_string(readers), "--socket",
                                 socket, "--log", "debug"},
        std::map<std::string, std::string>{{"XDG_CONFIG_HOME", folder_.path()}}, folder_.path() / "log");
    until([&] {
        if (program_->has_ended()) throw std::runtime_error("cardbrokerd did not start");
        return answers(socket);
    });
}

}  // namespace cardbroker::tests
