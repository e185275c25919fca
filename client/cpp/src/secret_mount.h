// Secrets as orchestrators mount them: readable by all users of a container, writable by root alone.
#pragma once

#include <sys/stat.h>

#include <string>

namespace cardbroker {

/// Whether the open file `found` at `path` is such a secret. File and folder belong to root, who alone may write them,
/// and the file lies on a read-only mount, or on a tmpfs whose root is its folder. A link may lead to another place
/// within the mount. False where the system does not list its mounts.
bool is_mounted_secret(const std::string& path, const struct stat& found);

/// Whether the mount of `file` is for secrets. `folder` is where the file was looked for; both are without links.
/// `mounts` is the text of `/proc/self/mountinfo`.
bool is_secret_mount(const std::string& mounts, const std::string& folder, const std::string& file);

}  // namespace cardbroker
