// The file in which a broker that chose its TCP port itself leaves its endpoint for its user.
#include "endpoint_file.h"

#include <cardbroker/error.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <system_error>
#include <utility>

#include "json_object.h"
#include "private_file.h"
#include "token_file.h"

namespace cardbroker {

namespace {

constexpr std::size_t max_bytes = 64 << 10;

/// The text or the spelling of the value of the kind; empty if there is none.
std::string value(const JsonObject& found, const std::string& key, JsonValue::Kind kind) {
    const auto entry = found.find(key);
    return entry == found.end() || entry->second.kind != kind ? "" : entry->second.text;
}

/// The integer of the spelling, which has no sign, fraction or exponent.
template <typename Integer>
std::optional<Integer> integer(const std::string& spelling) {
    Integer number = 0;
    const char* const end = spelling.data() + spelling.size();
    const auto [stop, error] = std::from_chars(spelling.data(), end, number);
    return error == std::errc() && stop == end ? std::optional<Integer>(number) : std::nullopt;
}

/// The loopback port with TLS, in the one notation that a broker writes.
std::optional<Endpoint> port(const std::string& text) try {
    Endpoint endpoint(text);
    const std::string written = endpoint.to_string();
    const std::string host = written.substr(0, written.rfind(':'));
    const bool is_fit = endpoint.is_loopback() && !endpoint.is_plain() && written == text;
    const bool is_address = host != "https://localhost" && (host.back() != ']' || host == "https://[::1]");
    const bool has_port = written.substr(host.size()) != ":0";
    return is_fit && is_address && has_port ? std::optional<Endpoint>(std::move(endpoint)) : std::nullopt;
} catch (const InvalidRequest&) {
    return std::nullopt;
}

/// State and start of a process, the fields 3 and 22 of its `stat`; nothing where the system does not tell. Elsewhere
/// than on Linux other users may make a file of that name.
std::optional<std::pair<std::string, std::uint64_t>> state_and_start_of(std::uint32_t pid) {
#ifndef __linux__
    return std::nullopt;
#endif
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    // The name in the second field may hold anything, but the last bracket ends it.
    const std::size_t name_end = stat.rfind(')');
    if (name_end == stat.npos) return std::nullopt;
    std::istringstream fields(stat.substr(name_end + 1));
    std::string state;
    std::string skipped;
    std::uint64_t start_time = 0;
    fields >> state;
    for (int field = 4; field < 22; ++field) fields >> skipped;
    if (!(fields >> start_time)) return std::nullopt;
    return std::pair(state, start_time);
}

std::string distrust(const struct stat& found, uid_t uid) {
    if (!S_ISREG(found.st_mode)) return "is not a regular file";
    if (found.st_uid != uid) return "belongs to " + user_name(found.st_uid) + ", not to this user";
    return (found.st_mode & 077) == 0 ? "" : "is open to other users (its mode is " + octal(found.st_mode) + ')';
}

Finding malformed(const std::string& path, const std::string& problem) {
    return Finding{Finding::Kind::Failed, path + ' ' + problem, false, true};
}

/// The finding with the file's name, where the finding does not name it.
Finding at(const std::string& path, Finding finding) {
    if (finding.kind == Finding::Kind::Missing) finding.text += ": " + path;
    if (finding.kind == Finding::Kind::Failed) finding.text = path + ": " + finding.text;
    return finding;
}

std::variant<std::string, Finding> read(const std::string& path, uid_t uid) {
    // A pipe without a writer would block.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (descriptor < 0) {
        if (errno == ELOOP) return untrusted(path + " is a symbolic link");
        return at(path, finding_of(errno, path));
    }
    struct stat found {};
    std::string problem;
    std::string text;
    std::optional<Finding> finding;
    if (::fstat(descriptor, &found) != 0) {
        finding = at(path, finding_of(errno, path));
    } else if (const std::string why = distrust(found, uid); !why.empty()) {
        finding = untrusted(path + ' ' + why);
    } else {
        text = read_bytes(descriptor, max_bytes + 1, problem);
        if (!problem.empty()) finding = Finding{Finding::Kind::Failed, path + ' ' + problem};
        if (text.size() > max_bytes) finding = malformed(path, "is longer than 64 KiB");
    }
    ::close(descriptor);
    if (finding) return *std::move(finding);
    return text;
}

}  // namespace

std::optional<EndpointFile> parse_endpoint_file(const std::string& json, std::string& problem) {
    problem.clear();
    const std::optional<JsonObject> found = parse_json_object(json);
    if (!found) {
        problem = "is not one JSON object";
        return std::nullopt;
    }
    const auto demand = [&](bool is_valid, const std::string& key) {
        if (!is_valid && problem.empty()) problem = "has no valid \"" + key + '"';
    };
    const std::string token = value(*found, "token", JsonValue::Kind::Text);
    demand(!token.empty() && is_visible(token), "token");
    std::optional<Endpoint> endpoint = port(value(*found, "endpoint", JsonValue::Kind::Text));
    demand(endpoint.has_value(), "endpoint");
    std::string certificate = value(*found, "certificate", JsonValue::Kind::Text);
    trim(certificate);
    const std::string base64 = certificate_in(certificate);
    demand(!base64.empty() && !is_authority(base64), "certificate");
    const auto pid = integer<std::uint32_t>(value(*found, "pid", JsonValue::Kind::Number));
    demand(pid.value_or(0) > 0, "pid");
    const auto start_time = integer<std::uint64_t>(value(*found, "start_time", JsonValue::Kind::Number));
    demand(start_time || found->count("start_time") == 0, "start_time");
    if (!problem.empty()) return std::nullopt;
    return EndpointFile{*std::move(endpoint), token, certificate, *pid, start_time};
}

bool has_ended(std::uint32_t pid, std::optional<std::uint64_t> start_time) {
    // A number that is too large for the system is nobody's.
    if (pid > static_cast<std::uint32_t>(std::numeric_limits<pid_t>::max())) return true;
    if (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return true;
    const auto found = state_and_start_of(pid);
    if (!found) return false;
    // A process that its parent has not waited for still has its number.
    const auto& [state, start] = *found;
    return state == "Z" || state == "X" || (start_time && *start_time != start);
}

std::variant<EndpointFile, Finding> read_endpoint_file(const Place& place, uid_t uid) {
    if (place.path.empty()) {
        return Finding{Finding::Kind::Missing, "no such place: LOCALAPPDATA is no absolute path"};
    }
    if (std::optional<Finding> finding = walk(place, uid)) return at(place.path, *std::move(finding));
    std::variant<std::string, Finding> text = read(place.path, uid);
    if (const Finding* const finding = std::get_if<Finding>(&text)) return *finding;
    std::string problem;
    std::optional<EndpointFile> found = parse_endpoint_file(std::get<std::string>(text), problem);
    if (!found) return malformed(place.path, problem);
    if (has_ended(found->pid, found->start_time)) {
        const std::string process = std::to_string(found->pid);
        return Finding{Finding::Kind::Refused, "its broker, process " + process + ", has ended; see " + place.path,
                       true};
    }
    return *std::move(found);
}

}  // namespace cardbroker
