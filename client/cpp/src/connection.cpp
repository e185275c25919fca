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

#include "endpoint_file.h"
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

#ifdef _WIN32
constexpr bool on_windows = true;
#else
constexpr bool on_windows = false;
#endif

Place endpoint_file_of_user(bool is_windows) {
    return is_windows ? endpoint_file_place_on_windows(variable("LOCALAPPDATA"))
                      : endpoint_file_place(geteuid(), variable("XDG_RUNTIME_DIR"));
}

/// The targets without a connection to them, and why.
using FailedAttempts = std::vector<std::pair<Target, Finding>>;

NotRunning no_broker(const FailedAttempts& in_vain) {
    const auto& [target, finding] = in_vain.back();
    const std::string endpoint = target.endpoint.to_string();
    constexpr std::string_view denied = "permission denied";
    switch (finding.kind) {
        case Finding::Kind::Forbidden:
            return not_running("no permission to open " + endpoint + finding.text.substr(denied.size()),
                               StatusCode::PermissionDenied);
        case Finding::Kind::Untrusted:
            return not_running(endpoint + " is " + finding.text, StatusCode::PermissionDenied);
        case Finding::Kind::OtherProgram:
            return not_running((target.endpoint.is_auto()
                                    ? "the port of " + endpoint + " is not that of the broker of the endpoint file"
                                    : endpoint + " is not the broker of the token file") +
                               ": it has another certificate or no TLS; nothing was sent to it");
        case Finding::Kind::TooLong:
            return not_running("no broker at " + endpoint + ": " + finding.text);
        default:
            if (finding.is_malformed) return not_running(endpoint + ": " + finding.text);
    }
    std::string places;
    for (const auto& [each, found] : in_vain) {
        places += (places.empty() ? "" : " or ") + each.endpoint.to_string() + " (" + found.text + ')';
    }
    return not_running("no broker at " + places);
}

/// Makes a channel that has not connected yet.
std::shared_ptr<grpc::Channel> channel_to(const Route& route) {
    const Endpoint& endpoint = route.endpoint;
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
        options.pem_root_certs = route.certificate;
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

std::vector<Target> targets_of(std::optional<Endpoint> named, bool is_windows) {
    if (!named && uses_endpoint_file(is_windows)) named = Endpoint(names::automatic);
    if (named) {
        std::optional<Place> place;
        if (named->is_auto()) place = endpoint_file_of_user(is_windows);
        return {Target{*std::move(named), std::move(place)}};
    }
    std::vector<Target> targets;
    for (Place& place : places(geteuid(), variable("XDG_RUNTIME_DIR"))) {
        targets.push_back(Target{Endpoint("unix:" + place.path), std::move(place)});
    }
    return targets;
}

Connection::Connection(std::optional<Endpoint> named, ConnectOptions options)
    : Connection(targets_of(std::move(named), on_windows), std::move(options)) {}

Connection::Connection(std::vector<Target> targets, ConnectOptions options)
    : targets_(std::move(targets)), options_(std::move(options)) {
    if (options_.group.size() > max_group_characters || !is_visible(options_.group)) {
        throw InvalidRequest(names::group_metadata, "an isolation group has 1 to 128 visible ASCII characters");
    }
    if (endpoint().is_unix() || endpoint().is_auto()) return;
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

std::variant<Route, Finding> Connection::route_to(const Target& target) const {
    const auto& [endpoint, place] = target;
    if (endpoint.is_auto()) {
        std::variant<EndpointFile, Finding> found = read_endpoint_file(*place, geteuid());
        if (const Finding* const finding = std::get_if<Finding>(&found)) return *finding;
        auto& file = std::get<EndpointFile>(found);
        return Route{std::move(file.endpoint), std::move(file.certificate), std::move(file.token)};
    }
    if (endpoint.is_unix()) {
        std::optional<Finding> obstacle = length_of(endpoint.address());
        if (!obstacle && place) obstacle = walk(*place, geteuid());
        if (obstacle) return *std::move(obstacle);
    }
    if (endpoint.is_unix() || endpoint.is_plain()) return Route{endpoint, "", ""};
    return Route{endpoint, read_token_file(options_.token_file, endpoint).certificate, ""};
}

Away Connection::why_away() const {
    const Target& target = targets_.front();
    const std::variant<Route, Finding> route = route_to(target);
    const Finding* const obstacle = std::get_if<Finding>(&route);
    const Finding finding = obstacle ? *obstacle : probe(std::get<Route>(route).endpoint);
    return {no_broker(FailedAttempts{{target, finding}}), finding.waiting_helps};
}

std::optional<Line> Connection::present() {
    const std::lock_guard lock(mutex_);
    if (!line_ || !is_ready(*line_->channel)) return std::nullopt;
    const Target& target = targets_.front();
    if (target.place && target.endpoint.is_unix()) {
        const std::optional<Finding> finding = walk(*target.place, geteuid());
        if (finding && finding->kind == Finding::Kind::Untrusted) throw no_broker(FailedAttempts{{target, *finding}});
    }
    return line_;
}

Line Connection::connected(Clock::time_point end) {
    const auto start = Clock::now();
    if (start >= end) throw deadline_passed().not_sent();
    if (std::optional<Line> line = present()) return *line;
    // Outside the lock, so that no call waits for the attempt of another. A new channel, because the old one would
    // pause before its next attempt, and would connect without a look at the way.
    const auto last_attempt = std::min(start + connect_timeout(), end);
    bool was_other_program = false;
    for (;;) {
        Line line;
        FailedAttempts in_vain;
        std::optional<Target> found = search(targets_, in_vain, [&](const Target& target) -> std::optional<Finding> {
            std::variant<Route, Finding> route = route_to(target);
            if (const Finding* const finding = std::get_if<Finding>(&route)) return *finding;
            line.route = std::make_shared<const Route>(std::get<Route>(std::move(route)));
            line.channel = channel_to(*line.route);
            const auto now = Clock::now();
            const auto attempt_end = std::min(std::max(last_attempt, now + shortest_attempt), end);
            if (connects(*line.channel, attempt_end - now)) return std::nullopt;
            return probe(line.route->endpoint);
        });
        if (found) {
            const std::lock_guard lock(mutex_);
            if (targets_.size() > 1) targets_ = {*std::move(found)};
            line_ = line;
            return line;
        }
        const Finding& finding = in_vain.back().second;
        // A broker may have begun to answer between gRPC's attempt and the look: only the second time counts.
        const bool is_other_program = finding.kind == Finding::Kind::OtherProgram;
        const bool is_certain = is_other_program && std::exchange(was_other_program, is_other_program);
        const auto left = last_attempt - Clock::now();
        if (is_certain || !finding.waiting_helps || left <= left.zero()) throw no_broker(in_vain);
        std::this_thread::sleep_for(std::min<Clock::duration>(attempt_pause, left));
    }
}

std::variant<Line, Away> Connection::fresh() const {
    const Target& target = targets_.front();
    std::variant<Route, Finding> route = route_to(target);
    if (const Finding* const finding = std::get_if<Finding>(&route)) {
        return Away{no_broker(FailedAttempts{{target, *finding}}), finding->waiting_helps};
    }
    Line line;
    line.route = std::make_shared<const Route>(std::get<Route>(std::move(route)));
    line.channel = channel_to(*line.route);
    return line;
}

void Connection::sign(grpc::ClientContext& context, const Line& line) const {
    if (!options_.group.empty()) context.AddMetadata(names::group_metadata, options_.group);
    const Route& route = *line.route;
    std::string token = route.token;
    if (token.empty() && !route.endpoint.is_unix() && !options_.token_file.empty()) {
        TokenFile found = read_token_file(options_.token_file, route.endpoint);
        if (found.certificate != route.certificate) {
            throw InvalidRequest("token_file", "the token file " + options_.token_file +
                                                   " has another certificate than before: connect anew");
        }
        token = std::move(found.token);
    }
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
}

}  // namespace cardbroker
