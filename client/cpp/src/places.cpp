// The default places of a broker, and trust in the way to them.
#include "places.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace cardbroker {

namespace {

constexpr mode_t others_write = 022;

std::string user(uid_t uid) { return uid == 0 ? "root" : "uid " + std::to_string(uid); }

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
        if (stat(path->c_str(), &found) == 0) return "; " + *path + " belongs to " + user(found.st_uid);
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

/// The first part that lets another user decide what is at the place; empty if there is none. `parts` lack the last
/// ones if those do not exist or cannot be seen. The path of the socket has `length` parts.
std::string judge(const Place& place, uid_t uid, const std::vector<Part>& parts, std::size_t length) {
    // The socket is the last part, its folder the one before, and the runtime folder the one before that.
    for (std::size_t index = 0; index < parts.size(); ++index) {
        const Part& part = parts[index];
        if (part.kind == Part::Kind::Link) return part.path + " is a symbolic link";
        if (index + 1 == length) break;
        if (part.kind != Part::Kind::Folder) return part.path + " is not a folder";
        const Part* above = index == 0 ? nullptr : &parts[index - 1];
        const bool is_appointed =
            index + 2 == length && above && above->owner == 0 && (above->mode & others_write) == 0;
        const bool next_is_users = index + 1 == parts.size() || parts[index + 1].owner == uid;
        const bool keeps_next = part.owner == 0 && (part.mode & S_ISVTX) != 0 && next_is_users;
        if (place.is_own && index + 3 == length && part.owner != uid) {
            return "the runtime folder " + part.path + " belongs to " + user(part.owner) + ", not to this user";
        }
        if (part.owner != 0 && part.owner != uid && !is_appointed) {
            return part.path + " belongs to " + user(part.owner) + ", neither to root nor to this user";
        }
        if ((part.mode & others_write) != 0 && !keeps_next) {
            char mode[8];
            std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(part.mode & 07777));
            return "other users can write to " + part.path + " (its mode is " + mode + ')';
        }
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

std::optional<Finding> walk(const Place& place, uid_t uid, const Look& look) {
    const std::vector<std::string> paths = paths_of(place.socket);
    std::vector<Part> parts;
    int hidden = 0;
    for (const std::string& path : paths) {
        const std::variant<Part, int> found = look(path);
        if (const int* error = std::get_if<int>(&found)) {
            hidden = *error;
            break;
        }
        parts.push_back(std::get<Part>(found));
    }
    const std::string problem = judge(place, uid, parts, paths.size());
    if (!problem.empty()) return Finding{Finding::Kind::Untrusted, "not trusted: " + problem};
    if (hidden != 0) return finding_of(hidden, place.socket);
    return std::nullopt;
}

std::optional<Finding> walk(const Place& place, uid_t uid) { return walk(place, uid, look_at); }

Finding finding_of(int error, const std::string& socket) {
    switch (error) {
        case ENOENT:
        case ENOTDIR:
            return {Finding::Kind::Missing, "no such file", true};
        case ECONNREFUSED:
            return {Finding::Kind::Refused, "connection refused" + owner_at(socket), true};
        case EACCES:
        case EPERM:
            return {Finding::Kind::Forbidden, "permission denied" + owner_at(socket)};
        case 0:
        case EAGAIN:
        case EINPROGRESS:
            return {Finding::Kind::Failed, "no answer in time", true};
        default:
            return {Finding::Kind::Failed, std::strerror(error), true};
    }
}

std::optional<Finding> length_of(const std::string& socket) {
    constexpr std::size_t most = sizeof(sockaddr_un::sun_path) - 1;
    if (socket.size() <= most) return std::nullopt;
    return Finding{Finding::Kind::TooLong, "the path is longer than a socket's " + std::to_string(most) + " bytes"};
}

}  // namespace cardbroker
