// The connection that a client and its copies share: opened at the first need, and reopened after a loss.
#include "connection.h"

#include <cardbroker/error.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <thread>
#include <utility>

#include "errors.h"
#include "names.h"
#include "private_file.h"
#include "times.h"

namespace cardbroker {

namespace {

constexpr int keep_alive_interval_ms = 20'000;
constexpr int keep_alive_timeout_ms = 10'000;
/// The pause between two attempts to reach a broker.
constexpr std::chrono::milliseconds attempt_pause(100);
constexpr std::size_t max_group_characters = 128;
/// The least time for one attempt to connect, even with a shorter connect timeout.
constexpr std::chrono::seconds shortest_attempt(1);

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

/// Whether all characters are visible ASCII. gRPC ends the program for other metadata.
bool is_visible(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char character) { return character > ' ' && character <= '~'; });
}

std::string read_token(const std::string& file) {
    const auto unusable = [&](const std::string& why) {
        return InvalidRequest("token_file", "the token file " + file + ' ' + why);
    };
    std::string problem;
    std::string token = read_private_file(file, problem);
    if (!problem.empty()) throw unusable(problem);
    const char* const blank = " \t\r\n\v\f";
    token.erase(0, token.find_first_not_of(blank));
    token.erase(token.find_last_not_of(blank) + 1);
    // A certificate may follow.
    const std::size_t line_end = token.find('\n');
    const std::size_t after = line_end == std::string::npos ? line_end : token.find_first_not_of(blank, line_end);
    if (after != std::string::npos && token.compare(after, 11, "-----BEGIN ") == 0) {
        token.erase(token.find_last_not_of(blank, line_end) + 1);
    }
    if (token.empty() || !is_visible(token)) {
        throw unusable("holds no token: one line of visible ASCII, as made by \"cardbroker token new\"");
    }
    return token;
}

/// The path with URI escapes, because gRPC parses it as part of a URI.
std::string escaped(const std::string& path) {
    static constexpr char digits[] = "0123456789ABCDEF";
    static constexpr std::string_view plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    std::string result;
    for (const char character : path) {
        if (plain.find(character) != plain.npos) {
            result += character;
        } else {
            const auto byte = static_cast<unsigned char>(character);
            result += {'%', digits[byte >> 4], digits[byte & 0x0F]};
        }
    }
    return result;
}

/// Waits for the first attempt of a fresh channel to connect.
bool connects(grpc::Channel& channel, Connection::Clock::duration timeout) {
    const auto deadline = std::chrono::system_clock::now() + timeout;
    for (;;) {
        const grpc_connectivity_state state = channel.GetState(true);
        if (state == GRPC_CHANNEL_READY) return true;
        if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) return false;
        if (!channel.WaitForStateChange(state, deadline)) return false;
    }
}

/// Whether the channel is still connected, as far as the operating system reports.
bool is_ready(grpc::Channel& channel) {
    // gRPC notices the end of the connection only during a wait, so this waits once on a queue of its own.
    grpc::CompletionQueue queue;
    void* tag = nullptr;
    bool ok = false;
    queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now());
    return channel.GetState(false) == GRPC_CHANNEL_READY;
}

}  // namespace

ConnectOptions ConnectOptions::from_environment() {
    ConnectOptions options;
    options.group = variable(names::group_variable);
    options.token_file = variable(names::token_file_variable);
    return options;
}

Connection::Connection(Endpoint endpoint, ConnectOptions options)
    : endpoint_(std::move(endpoint)), options_(std::move(options)) {
    if (options_.group.size() > max_group_characters || !is_visible(options_.group)) {
        throw InvalidRequest(names::group_metadata, "an isolation group has 1 to 128 visible ASCII characters");
    }
    if (!endpoint_.is_unix() && !options_.token_file.empty()) read_token(options_.token_file);
}

std::chrono::nanoseconds Connection::connect_timeout() const noexcept {
    constexpr auto most = std::chrono::duration_cast<std::chrono::milliseconds>(max_deadline);
    return std::clamp(options_.connect_timeout, std::chrono::milliseconds(0), most);
}

bool Connection::is_forbidden() const {
    sockaddr_un address{};
    if (!endpoint_.is_unix() || endpoint_.address().size() >= sizeof address.sun_path) return false;
    address.sun_family = AF_UNIX;
    endpoint_.address().copy(address.sun_path, sizeof address.sun_path - 1);
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return false;
    const bool connected = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const bool forbidden = !connected && (errno == EACCES || errno == EPERM);
    ::close(descriptor);
    return forbidden;
}

std::shared_ptr<grpc::Channel> Connection::connected(Clock::time_point end) {
    const auto start = Clock::now();
    if (start >= end) throw deadline_passed().not_sent();
    {
        const std::lock_guard lock(mutex_);
        if (channel_ && is_ready(*channel_)) return channel_;
    }
    // Outside the lock, so that no call waits for the attempt of another. A new channel, because the old one would
    // pause before its next attempt.
    const auto last_attempt = std::min(start + connect_timeout(), end);
    for (;;) {
        auto channel = fresh();
        const auto now = Clock::now();
        if (connects(*channel, std::min(std::max(last_attempt, now + shortest_attempt), end) - now)) {
            const std::lock_guard lock(mutex_);
            channel_ = channel;
            return channel;
        }
        if (is_forbidden()) {
            throw not_running("this user may not open " + endpoint_.to_string(), StatusCode::PermissionDenied);
        }
        const auto left = last_attempt - Clock::now();
        if (left <= left.zero()) throw not_running("no broker answers at " + endpoint_.to_string());
        std::this_thread::sleep_for(std::min<Clock::duration>(attempt_pause, left));
    }
}

std::shared_ptr<grpc::Channel> Connection::fresh() const {
    grpc::ChannelArguments arguments;
    // Otherwise the channels of a process share connections.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    // Only `TransmitOptions::repeatable` repeats calls, never gRPC.
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    // The broker is on this machine, never behind a proxy.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, keep_alive_interval_ms);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keep_alive_timeout_ms);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    if (!endpoint_.is_unix()) {
        return grpc::CreateCustomChannel(endpoint_.address(), grpc::InsecureChannelCredentials(), arguments);
    }
    // On a Unix socket the authority has no meaning, but HTTP/2 needs a valid one, and the path is not.
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    return grpc::CreateCustomChannel("unix:" + escaped(endpoint_.address()), grpc::InsecureChannelCredentials(),
                                     arguments);
}

void Connection::sign(grpc::ClientContext& context) const {
    if (!options_.group.empty()) context.AddMetadata(names::group_metadata, options_.group);
    if (!endpoint_.is_unix() && !options_.token_file.empty()) {
        context.AddMetadata("authorization", "Bearer " + read_token(options_.token_file));
    }
}

}  // namespace cardbroker
