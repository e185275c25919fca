// Secrets as orchestrators mount them: readable by all users of a container, writable by root alone.
#include "secret_mount.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <vector>

namespace cardbroker {

namespace {

namespace fs = std::filesystem;

struct Mount {
    std::string number;
    std::string point;
    bool is_read_only = false;
    bool is_in_memory = false;
};

std::vector<std::string> split(const std::string& text, char separator) {
    std::istringstream stream(text);
    std::vector<std::string> parts;
    for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
    return parts;
}

bool is_read_only(const std::string& options) {
    const std::vector<std::string> all = split(options, ',');
    return std::find(all.begin(), all.end(), "ro") != all.end();
}

/// The path in a field, where spaces and the like are written as `\040`.
std::string unescaped(const std::string& field) {
    std::string path;
    for (std::size_t at = 0; at < field.size(); ++at) {
        const std::string digits = field[at] == '\\' ? field.substr(at + 1, 3) : std::string();
        if (digits.size() == 3 && digits.find_first_not_of("01234567") == std::string::npos) {
            path += static_cast<char>(std::stoi(digits, nullptr, 8));
            at += 3;
        } else {
            path += field[at];
        }
    }
    return path;
}

/// Parses `ID PARENT DEVICE ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS`; a line of another form is no mount.
bool parse(const std::string& line, Mount& mount) {
    const std::vector<std::string> fields = split(line, ' ');
    const auto end = std::find(fields.begin(), fields.end(), "-");
    if (std::distance(fields.begin(), end) < 6 || std::distance(end, fields.end()) < 2) return false;
    const std::string& type = end[1];
    const bool of_system = std::distance(end, fields.end()) > 3 && is_read_only(end[3]);
    mount = {fields[0], unescaped(fields[4]), is_read_only(fields[5]) || of_system, type == "tmpfs" || type == "ramfs"};
    return true;
}

bool contains(const std::string& point, const std::string& path) {
    const std::string folder = point == "/" ? point : point + '/';
    return path == point || path.compare(0, folder.size(), folder) == 0;
}

/// The mount that `path` lies on: of those whose points contain it the deepest, and of these the last. Without a number
/// if there is none.
Mount mount_of(const std::string& mounts, const std::string& path) {
    Mount best;
    for (const std::string& line : split(mounts, '\n')) {
        Mount mount;
        if (parse(line, mount) && contains(mount.point, path) && mount.point.size() >= best.point.size()) best = mount;
    }
    return best;
}

bool is_of_root(const struct stat& found) { return found.st_uid == 0 && (found.st_mode & 022) == 0; }

}  // namespace

bool is_mounted_secret(const std::string& path, const struct stat& found) {
    std::error_code error;
    const fs::path file = fs::canonical(path, error);
    if (error) return false;
    const fs::path named = fs::path(path).parent_path();
    const fs::path folder = fs::canonical(named.empty() ? fs::path(".") : named, error);
    struct stat still {};
    struct stat parent {};
    if (error || ::stat(file.c_str(), &still) != 0 || ::stat(file.parent_path().c_str(), &parent) != 0) return false;
    const bool is_same = still.st_dev == found.st_dev && still.st_ino == found.st_ino;
    std::ifstream list("/proc/self/mountinfo");
    const std::string mounts{std::istreambuf_iterator<char>(list), std::istreambuf_iterator<char>()};
    return is_same && is_of_root(found) && is_of_root(parent) &&
           is_secret_mount(mounts, folder.string(), file.string());
}

bool is_secret_mount(const std::string& mounts, const std::string& folder, const std::string& file) {
    const Mount mount = mount_of(mounts, file);
    const Mount of_folder = mount_of(mounts, folder);
    if (mount.number.empty() || of_folder.number.empty()) return false;
    const bool is_inside = mount.point == file || mount.number == of_folder.number;
    // Mounts in memory at other points may be for secrets alone.
    const bool is_of_its_own = mount.point == folder && mount.point != "/" && mount.point != "/run";
    return is_inside && (mount.is_read_only || (mount.is_in_memory && is_of_its_own));
}

}  // namespace cardbroker
