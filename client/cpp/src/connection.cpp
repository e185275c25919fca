// The connection that a client and its copies share: opened at the first need, and reopened after a loss.
#include "connection.h"

#include <cardbroker/error.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <thread>
#include <utility>

#include "errors.h"
#include "names.h"
#include "probe.h"
#include "times.h"
#include "token_file.h"

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

/// The named endpoint, or without one the default places in their order.
std::vector<Target> targets_of(std::optional<Endpoint> named) {
    if (named) return {Target{*std::move(named), std::nullopt}};
    std::vector<Target> targets;
    for (Place& place : places(geteuid(), variable("XDG_RUNTIME_DIR"))) {
        targets.push_back(Target{Endpoint("unix:" + place.socket), std::move(place)});
    }
    return targets;
}

using Tried = std::vector<std::pair<Target, Finding>>;

/// Why a target is not even connected to: its path is too long, or the way to its default place is not trusted or does
/// not exist.
std::optional<Finding> obstacle(const Target& target) {
    if (!target.endpoint.is_unix()) return std::nullopt;
    std::optional<Finding> finding = length_of(target.endpoint.address());
    return finding || !target.place ? finding : walk(*target.place, geteuid());
}

NotRunning no_broker(const Tried& tried) {
    const auto& [target, finding] = tried.back();
    const std::string endpoint = target.endpoint.to_string();
    constexpr std::string_view denied = "permission denied";
    switch (finding.kind) {
        case Finding::Kind::Forbidden:
            return not_running("no permission to open " + endpoint + finding.text.substr(denied.size()),
                               StatusCode::PermissionDenied);
        case Finding::Kind::Untrusted:
            return not_running(endpoint + " is " + finding.text, StatusCode::PermissionDenied);
        case Finding::Kind::OtherProgram:
            return not_running(endpoint +
                               " is not the broker of the token file: it has another certificate or no TLS; nothing "
                               "was sent to it");
        case Finding::Kind::TooLong:
            return not_running("no broker at " + endpoint + ": " + finding.text);
        default:
            break;
    }
    std::string places;
    for (const auto& [each, found] : tried) {
        places += (places.empty() ? "" : " or ") + each.endpoint.to_string() + " (" + found.text + ')';
    }
    return not_running("no broker at " + places);
}

/// Makes a channel that has not connected yet. With TLS the token file has the certificate.
std::shared_ptr<grpc::Channel> channel_to(const Endpoint& endpoint, const std::string& token_file) {
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
    if (!endpoint.is_unix()) {
        const std::string target = "dns:///" + numeric_address(endpoint);
        if (endpoint.is_plain()) {
            return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
        }
        // The certificate is the only root and cannot sign others, so the broker has exactly this one.
        grpc::SslCredentialsOptions options;
        options.pem_root_certs = read_token_file(token_file, endpoint).certificate;
        // The name in the certificate, whatever the address.
        arguments.SetSslTargetNameOverride("localhost");
        return grpc::CreateCustomChannel(target, grpc::SslCredentials(options), arguments);
    }
    // On a Unix socket the authority has no meaning, but HTTP/2 needs a valid one, and the path is not.
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    return grpc::CreateCustomChannel("unix:" + escaped(endpoint.address()), grpc::InsecureChannelCredentials(),
                                     arguments);
}

}  // namespace

ConnectOptions ConnectOptions::from_environment() {
    ConnectOptions options;
    options.group = variable(names::group_variable);
    options.token_file = variable(names::token_file_variable);
    return options;
}

Connection::Connection(std::optional<Endpoint> named, ConnectOptions options)
    : targets_(targets_of(std::move(named))), options_(std::move(options)) {
    if (options_.group.size() > max_group_characters || !is_visible(options_.group)) {
        throw InvalidRequest(names::group_metadata, "an isolation group has 1 to 128 visible ASCII characters");
    }
    if (endpoint().is_unix()) return;
    if (!options_.token_file.empty()) {
        read_token_file(options_.token_file, endpoint());
    } else if (!endpoint().is_plain()) {
        throw InvalidRequest("token_file", endpoint().to_string() +
                                               " needs a token file, which has the broker's certificate: make one with "
                                               "\"cardbroker token new\"");
    }
    if (endpoint().is_plain()) {
        std::cerr << "cardbroker: warning: " << endpoint().to_string()
                  << " is plain TCP: a program that takes or relays the port reads tokens and PINs\n";
    }
}

std::chrono::nanoseconds Connection::connect_timeout() const noexcept {
    constexpr auto most = std::chrono::duration_cast<std::chrono::milliseconds>(max_deadline);
    return std::clamp(options_.connect_timeout, std::chrono::milliseconds(0), most);
}

std::pair<NotRunning, bool> Connection::why_away() const {
    const Target& target = targets_.front();
    const std::optional<Finding> before = obstacle(target);
    Finding finding = before ? *before : probe(target.endpoint);
    const bool is_passing = finding.is_passing;
    return {no_broker(Tried{{target, std::move(finding)}}), is_passing};
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
        std::shared_ptr<grpc::Channel> channel;
        Tried tried;
        std::optional<Target> found = search(targets_, tried, [&](const Target& target) {
            std::optional<Finding> finding = obstacle(target);
            if (finding) return finding;
            channel = channel_to(target.endpoint, options_.token_file);
            const auto now = Clock::now();
            const auto attempt_end = std::min(std::max(last_attempt, now + shortest_attempt), end);
            if (!connects(*channel, attempt_end - now)) finding = probe(target.endpoint);
            return finding;
        });
        if (found) {
            const std::lock_guard lock(mutex_);
            if (targets_.size() > 1) targets_ = {*std::move(found)};
            channel_ = channel;
            return channel;
        }
        const auto left = last_attempt - Clock::now();
        if (!tried.back().second.is_passing || left <= left.zero()) throw no_broker(tried);
        std::this_thread::sleep_for(std::min<Clock::duration>(attempt_pause, left));
    }
}

std::shared_ptr<grpc::Channel> Connection::fresh() const {
    const Target& target = targets_.front();
    const std::optional<Finding> finding = obstacle(target);
    if (finding && !finding->is_passing) throw no_broker(Tried{{target, *finding}});
    return channel_to(target.endpoint, options_.token_file);
}

void Connection::sign(grpc::ClientContext& context) const {
    if (!options_.group.empty()) context.AddMetadata(names::group_metadata, options_.group);
    if (!endpoint().is_unix() && !options_.token_file.empty()) {
        context.AddMetadata("authorization", "Bearer " + read_token_file(options_.token_file, endpoint()).token);
    }
}

}  // namespace cardbroker
