// The default places of a broker, and trust in the way to them.
#include "places.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>

namespace cardbroker {

namespace {

constexpr mode_t others_write = 022;

/// The paths on the way, from `/` to the socket.
std::vector<std::string> paths_of(const std::string& socket) {
    std::vector<std::string> paths{"/"};
    for (std::size_t begin = 0; begin < socket.size();) {
        const std::size_t end = std::min(socket.find('/', begin), socket.size());
        const std::string name = socket.substr(begin, end - begin);
        if (!name.empty() && name != ".") paths.push_back((paths.size() == 1 ? "" : paths.back()) + '/' + name);
        begin = end + 1;
    }
    return paths;
}

/// The owner of what is at the path, or of the last part on the way that can be seen.
std::string owner_at(const std::string& socket) {
    if (socket.empty()) return "";
    const std::vector<std::string> paths = paths_of(socket);
    for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
        struct stat found {};
        if (stat(path->c_str(), &found) == 0) return "; " + *path + " belongs to " + user_name(found.st_uid);
    }
    return "";
}

std::variant<Part, int> look_at(const std::string& path) {
    struct stat found {};
    if (lstat(path.c_str(), &found) != 0) return errno;
    Part::Kind kind = Part::Kind::Other;
    if (S_ISLNK(found.st_mode)) kind = Part::Kind::Link;
    if (S_ISDIR(found.st_mode)) kind = Part::Kind::Folder;
    return Part{path, kind, found.st_uid, found.st_mode & 07777};
}

std::string folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == 0 || slash == path.npos ? "/" : path.substr(0, slash);
}

bool others_can_write(const Part& part) { return (part.mode & others_write) != 0; }

/// Why the part lets another user decide what is at the place; empty if it does not. A part at an end of the way has no
/// neighbour there.
std::string problem_of(const Place& place, uid_t uid, const Part* above, const Part& part, const Part* below) {
    const std::string folder = folder_of(place.path);
    if (part.kind == Part::Kind::Link) return part.path + " is a symbolic link";
    // The folder of the last part decides who can put something else there.
    if (part.path == place.path) return "";
    if (part.kind != Part::Kind::Folder) return part.path + " is not a folder";
    if (place.is_own && part.path == folder_of(folder) && part.owner != uid) {
        return "the runtime folder " + part.path + " belongs to " + user_name(part.owner) + ", not to this user";
    }
    const bool is_appointed = part.path == folder && above && above->owner == 0 && !others_can_write(*above);
    if (part.owner != 0 && part.owner != uid && !is_appointed) {
        return part.path + " belongs to " + user_name(part.owner) + ", neither to root nor to this user";
    }
    const bool is_sticky = part.owner == 0 && (part.mode & S_ISVTX) != 0;
    const bool keeps_below = is_sticky && (!below || below->owner == uid);
    if (others_can_write(part) && !keeps_below) {
        return "other users can write to " + part.path + " (its mode is " + octal(part.mode) + ')';
    }
    return "";
}

/// The first part that lets another user decide what is at the place; empty if there is none. `parts` lack the last
/// ones if those do not exist or cannot be seen.
std::string judge(const Place& place, uid_t uid, const std::vector<Part>& parts) {
    const Part* above = nullptr;
    for (auto part = parts.begin(); part != parts.end(); ++part) {
        const auto next = std::next(part);
        const std::string problem = problem_of(place, uid, above, *part, next == parts.end() ? nullptr : &*next);
        if (!problem.empty()) return problem;
        above = &*part;
    }
    return "";
}

}  // namespace

std::vector<Place> places(uid_t uid, const std::string& runtime) {
    const Place system{"/run/cardbroker/cardbroker.sock", false};
    if (uid == 0) return {system};
    const bool is_set = !runtime.empty() && runtime.front() == '/';
    const std::string folder = is_set ? runtime : "/run/user/" + std::to_string(uid);
    return {Place{paths_of(folder + "/cardbroker/cardbroker.sock").back(), true}, system};
}

Place endpoint_file_place(uid_t uid, const std::string& runtime) {
    const Place socket = places(uid, runtime).front();
    return {folder_of(socket.path) + "/endpoint.json", socket.is_own};
}

Place endpoint_file_place_on_windows(const std::string& local_data) {
    const auto is_separator = [](char letter) { return letter == '\\' || letter == '/'; };
    const bool has_drive = local_data.size() >= 3 && std::isalpha(static_cast<unsigned char>(local_data[0])) &&
                           local_data[1] == ':' && is_separator(local_data[2]);
    const bool is_share = local_data.size() >= 3 && local_data.compare(0, 2, "\\\\") == 0;
    return {has_drive || is_share ? local_data + "\\cardbroker\\endpoint.json" : "", true};
}

std::string user_name(uid_t uid) { return uid == 0 ? "root" : "uid " + std::to_string(uid); }

std::string octal(mode_t mode) {
    char text[8];
    std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
    return text;
}

Finding untrusted(const std::string& problem) { return {Finding::Kind::Untrusted, "not trusted: " + problem}; }

std::optional<Finding> walk(const Place& place, uid_t uid, const Look& look) {
    std::vector<Part> parts;
    int hidden = 0;
    for (const std::string& path : paths_of(place.path)) {
        const std::variant<Part, int> found = look(path);
        if (const int* error = std::get_if<int>(&found)) {
            hidden = *error;
            break;
        }
        parts.push_back(std::get<Part>(found));
    }
    const std::string problem = judge(place, uid, parts);
    if (!problem.empty()) return untrusted(problem);
    if (hidden != 0) return finding_of(hidden, place.path);
    return std::nullopt;
}

std::optional<Finding> walk(const Place& place, uid_t uid) { return walk(place, uid, look_at); }

Finding finding_of(int error, const std::string& path) {
    switch (error) {
        case ENOENT:
        case ENOTDIR:
            return {Finding::Kind::Missing, "no such file", true};
        case ECONNREFUSED:
            return {Finding::Kind::Refused, "connection refused" + owner_at(path), true};
        case EACCES:
        case EPERM:
            return {Finding::Kind::Forbidden, "permission denied" + owner_at(path)};
        case 0:
        case EINTR:
        case EAGAIN:
        case EINPROGRESS:
            return {Finding::Kind::Failed, "no answer in time", true};
        // Errors of a connection that a broker's start or end may cause.
        case ECONNRESET:
        case ECONNABORTED:
        case EPIPE:
        case ETIMEDOUT:
            return {Finding::Kind::Failed, std::strerror(error), true};
        default:
            return {Finding::Kind::Failed, std::strerror(error)};
    }
}

std::optional<Finding> length_of(const std::string& socket) {
    constexpr std::size_t most = sizeof(sockaddr_un::sun_path) - 1;
    if (socket.size() <= most) return std::nullopt;
    return Finding{Finding::Kind::TooLong, "the path is longer than a socket's " + std::to_string(most) + " bytes"};
}

}  // namespace cardbroker
