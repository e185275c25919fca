// The file in which a broker that chose its TCP port itself leaves its endpoint for its user.
#include "endpoint_file.h"

#include <cardbroker/error.h>
#include <fcntl.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <utility>

#include "private_file.h"
#include "token_file.h"

namespace cardbroker {

namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr std::size_t max_bytes = 64 << 10;

const Value* value(const Struct& found, const std::string& key) {
    const auto entry = found.fields().find(key);
    return entry == found.fields().end() || entry->second.has_null_value() ? nullptr : &entry->second;
}

std::string text(const Struct& found, const std::string& key, std::string& problem) {
    const Value* const entry = value(found, key);
    if (entry && entry->kind_case() == Value::kStringValue) return entry->string_value();
    if (problem.empty()) problem = "has no text \"" + key + '"';
    return "";
}

std::optional<std::int64_t> number(const Struct& found, const std::string& key, std::string& problem) {
    const Value* const entry = value(found, key);
    if (!entry) return std::nullopt;
    const double number = entry->kind_case() == Value::kNumberValue ? entry->number_value() : -1;
    // Beyond this a double does not hold every whole number.
    if (number >= 0 && number <= 9007199254740992.0 && std::floor(number) == number) {
        return static_cast<std::int64_t>(number);
    }
    if (problem.empty()) problem = "has a \"" + key + "\" that is not a whole number from 0 on";
    return std::nullopt;
}

std::optional<Endpoint> port(const std::string& text) try {
    Endpoint endpoint(text);
    const bool is_fit = endpoint.is_loopback() && !endpoint.is_plain();
    return is_fit ? std::optional<Endpoint>(std::move(endpoint)) : std::nullopt;
} catch (const InvalidRequest&) {
    return std::nullopt;
}

/// State and start of a process, the fields 3 and 22 of its `stat`; nothing where the system does not tell.
std::optional<std::pair<std::string, std::int64_t>> state_and_start_of(std::int64_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    // The name in the second field may hold anything, but the last bracket ends it.
    const std::size_t name_end = stat.rfind(')');
    if (name_end == stat.npos) return std::nullopt;
    std::istringstream fields(stat.substr(name_end + 1));
    std::string state;
    std::string skipped;
    std::int64_t start_time = 0;
    fields >> state;
    for (int field = 4; field < 22; ++field) fields >> skipped;
    if (!(fields >> start_time)) return std::nullopt;
    return std::pair(state, start_time);
}

std::string distrust(const struct stat& found, uid_t uid) {
    if (!S_ISREG(found.st_mode)) return "is not a regular file";
    if (found.st_uid != uid) return "belongs to " + user_name(found.st_uid) + ", not to this user";
    return (found.st_mode & 077) == 0 ? "" : "is open to others (its mode is " + octal(found.st_mode) + ')';
}

/// The finding with the file's name, where the finding does not name it.
Finding at(const std::string& path, Finding finding) {
    if (finding.kind == Finding::Kind::Missing || finding.kind == Finding::Kind::Failed) {
        finding.text = path + ": " + finding.text;
    }
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
    } else if (static_cast<std::size_t>(found.st_size) > max_bytes) {
        finding = Finding{Finding::Kind::Failed, path + " is longer than 64 KiB"};
    } else {
        text = read_bytes(descriptor, static_cast<std::size_t>(found.st_size), problem);
        if (!problem.empty()) finding = Finding{Finding::Kind::Failed, path + ' ' + problem};
    }
    ::close(descriptor);
    if (finding) return *std::move(finding);
    return text;
}

}  // namespace

std::optional<EndpointFile> parse_endpoint_file(const std::string& json, std::string& problem) {
    Struct found;
    problem.clear();
    if (!google::protobuf::util::JsonStringToMessage(json, &found).ok()) {
        problem = "is not a JSON object";
        return std::nullopt;
    }
    const std::string named = text(found, "endpoint", problem);
    const std::string token = text(found, "token", problem);
    std::string certificate = text(found, "certificate", problem);
    const auto pid = number(found, "pid", problem);
    const auto start_time = number(found, "start_time", problem);
    trim(certificate);
    const std::string base64 = certificate_in(certificate);
    std::optional<Endpoint> endpoint = port(named);
    if (!problem.empty()) return std::nullopt;
    if (token.empty() || !is_visible(token)) problem = "has a \"token\" that is not visible ASCII";
    if (base64.empty() || is_authority(base64)) {
        problem = "has a \"certificate\" that is not one certificate of a broker in PEM";
    }
    if (pid.value_or(0) < 1) problem = "has no \"pid\" from 1 on";
    if (!endpoint) problem = "has an \"endpoint\" that is not https:// at a port of this machine";
    if (!problem.empty()) return std::nullopt;
    return EndpointFile{*std::move(endpoint), token, certificate, *pid, start_time};
}

bool has_ended(std::int64_t pid, std::optional<std::int64_t> start_time) {
    // A number that is too large for the system is nobody's.
    if (pid > std::numeric_limits<pid_t>::max()) return true;
    if (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return true;
    const auto found = state_and_start_of(pid);
    if (!found) return false;
    // A process that its parent has not waited for still has its number.
    const auto& [state, start] = *found;
    return state == "Z" || state == "X" || (start_time && *start_time != start);
}

std::variant<EndpointFile, Finding> read_endpoint_file(const Place& place, uid_t uid) {
    if (std::optional<Finding> finding = walk(place, uid)) return at(place.path, *std::move(finding));
    std::variant<std::string, Finding> text = read(place.path, uid);
    if (const Finding* const finding = std::get_if<Finding>(&text)) return *finding;
    std::string problem;
    std::optional<EndpointFile> found = parse_endpoint_file(std::get<std::string>(text), problem);
    if (!found) return Finding{Finding::Kind::Failed, place.path + ' ' + problem};
    if (has_ended(found->pid, found->start_time)) {
        return Finding{Finding::Kind::Refused, "its broker, process " + std::to_string(found->pid) + ", has ended",
                       true};
    }
    return *std::move(found);
}

}  // namespace cardbroker
