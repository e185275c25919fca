// Files with a secret: refused unless only their owner has access.
#include "private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "places.h"
#include "secret_mount.h"

namespace cardbroker {

namespace {

constexpr std::size_t max_private_bytes = 1 << 20;

std::string cannot_be_read() { return "cannot be read: " + std::generic_category().message(errno); }

/// The problem of the file; empty if it may be used.
std::string problem_of(const std::string& path, const struct stat& file) {
    if (!S_ISREG(file.st_mode)) return "is not a regular file";
    if (file.st_uid != 0 && file.st_uid != geteuid()) return "belongs to another user: change its owner with chown";
    if ((file.st_mode & 077) != 0 && !is_mounted_secret(path, file)) {
        return "is open to others (its mode is " + octal(file.st_mode) + "): chmod 600 it";
    }
    if (static_cast<std::size_t>(file.st_size) > max_private_bytes) return "is longer than 1 MiB";
    return {};
}

}  // namespace

std::string read_bytes(int descriptor, std::size_t size, std::string& problem) {
    std::string text(size, '\0');
    std::size_t length = 0;
    while (length < size) {
        const ssize_t count = ::read(descriptor, text.data() + length, size - length);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) problem = cannot_be_read();
        if (count <= 0) break;
        length += static_cast<std::size_t>(count);
    }
    text.resize(length);
    return text;
}

std::string read_private_file(const std::string& path, std::string& problem) {
    // A pipe without a writer would block.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat file {};
    if (descriptor < 0) {
        problem = cannot_be_read();
        return {};
    }
    problem = ::fstat(descriptor, &file) == 0 ? problem_of(path, file) : cannot_be_read();
    std::string text;
    if (problem.empty()) text = read_bytes(descriptor, static_cast<std::size_t>(file.st_size), problem);
    ::close(descriptor);
    return problem.empty() ? text : std::string();
}

}  // namespace cardbroker
