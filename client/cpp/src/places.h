// The default places of a broker, and trust in the way to them: only root and this user may decide what is there. gRPC
// does not tell who serves at a socket, so this client relies on the walk along the path.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cardbroker {

/// A socket at which a client looks for a broker that nobody has named.
struct Place {
    std::string socket;
    /// Whether it lies in the user's runtime folder, which must belong to the user.
    bool is_own;
};

/// One part of a path, as `lstat` reports it.
struct Part {
    enum class Kind { Folder, Link, Other };
    std::string path;
    Kind kind;
    uid_t owner;
    /// The permission bits, with the sticky bit.
    mode_t mode;
};

/// Why there is no connection to an endpoint.
struct Finding {
    enum class Kind { Missing, Refused, Forbidden, Untrusted, OtherProgram, TooLong, Failed };
    Kind kind;
    /// The finding, for people.
    std::string text;
    /// Whether a broker that starts may be the cause, so that waiting may help.
    bool is_passing = false;

    /// Whether there is no broker at this place, so that the next one is tried.
    bool goes_on() const { return kind == Kind::Missing || kind == Kind::Refused; }
};

/// The default places of a user, in the order in which a client tries them. `runtime` is the value of
/// `XDG_RUNTIME_DIR`; a relative path counts as unset.
std::vector<Place> places(uid_t uid, const std::string& runtime);

/// Returns the part at a path, or the system's error number.
using Look = std::function<std::variant<Part, int>(const std::string&)>;

/// Walks from `/` to the socket and judges each part; distrust counts before a missing part. Empty if the way is
/// trusted.
std::optional<Finding> walk(const Place& place, uid_t uid, const Look& look);
/// The same in the file system.
std::optional<Finding> walk(const Place& place, uid_t uid);

/// The finding for an error number of the system at a socket, or at a TCP port with an empty path.
Finding finding_of(int error, const std::string& socket);

/// The finding for a path that does not fit into a socket's address; empty if it fits.
std::optional<Finding> length_of(const std::string& socket);

/// Tries the places in their order, until one works or its finding ends the search. Returns the one that worked, and
/// puts the others with their findings into `tried`.
template <typename T, typename Attempt>
std::optional<T> search(const std::vector<T>& candidates, std::vector<std::pair<T, Finding>>& tried, Attempt attempt) {
    for (const T& candidate : candidates) {
        std::optional<Finding> finding = attempt(candidate);
        if (!finding) return candidate;
        tried.emplace_back(candidate, *std::move(finding));
        if (!tried.back().second.goes_on()) break;
    }
    return std::nullopt;
}

}  // namespace cardbroker
