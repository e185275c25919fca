// The default places of a broker and of its endpoint file, and trust in the way to them: only root and this user may
// decide what is there. gRPC does not tell who serves at a socket, so this client relies on the walk along the path.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cardbroker {

/// A file by which a client finds a broker that nobody has named: the broker's socket, or its endpoint file.
struct Place {
    std::string path;
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
    /// Whether a broker that starts may be the cause.
    bool waiting_helps = false;
    /// Whether an endpoint file is there but cannot be understood.
    bool is_malformed = false;

    /// Whether there is no broker at this place, so that the next one is tried.
    bool is_absence() const { return kind == Kind::Missing || kind == Kind::Refused; }
};

/// The default sockets of a user, in the order in which a client tries them. `runtime` is the value of
/// `XDG_RUNTIME_DIR`; a relative path counts as unset.
std::vector<Place> places(uid_t uid, const std::string& runtime);

/// The place of a user's endpoint file: beside the first default socket.
Place endpoint_file_place(uid_t uid, const std::string& runtime);
/// The same on Windows, by the value of `LOCALAPPDATA`. The path is empty without an absolute path there: a relative
/// one would lead to the current folder, where others may put files.
Place endpoint_file_place_on_windows(const std::string& local_data);

/// Whether a client without an endpoint uses the port in the endpoint file: on Windows, where gRPC cannot use the
/// broker's pipe; nowhere else.
constexpr bool uses_endpoint_file(bool is_windows) { return is_windows; }

/// Returns the part at a path, or the system's error number.
using Look = std::function<std::variant<Part, int>(const std::string&)>;

/// Walks from `/` to the file and judges each part; distrust counts before a missing part. Empty if the way is
/// trusted.
std::optional<Finding> walk(const Place& place, uid_t uid, const Look& look);
/// The same in the file system.
std::optional<Finding> walk(const Place& place, uid_t uid);

/// The finding at a place that another user may decide about.
Finding untrusted(const std::string& problem);

/// The finding for an error number of the system at a file, or at a TCP port with an empty path.
Finding finding_of(int error, const std::string& path);

/// The name of a user, and permission bits, in messages.
std::string user_name(uid_t uid);
std::string octal(mode_t mode);

/// The finding for a path that does not fit into a socket's address; empty if it fits.
std::optional<Finding> length_of(const std::string& socket);

/// Tries the places in their order, until one works or its finding ends the search. Returns the one that worked, and
/// puts the others with their findings into `in_vain`.
template <typename T, typename Attempt>
std::optional<T> search(const std::vector<T>& candidates, std::vector<std::pair<T, Finding>>& in_vain,
                        Attempt attempt) {
    for (const T& candidate : candidates) {
        std::optional<Finding> finding = attempt(candidate);
        if (!finding) return candidate;
        in_vain.emplace_back(candidate, *std::move(finding));
        if (!in_vain.back().second.is_absence()) break;
    }
    return std::nullopt;
}

}  // namespace cardbroker
