// Files with a secret: refused unless only their owner has access.
#pragma once

#include <cstddef>
#include <string>

namespace cardbroker {

/// Reads a regular file of this user or root without access for others, or a secret mounted by an orchestrator.
/// Otherwise returns nothing and describes the problem in `problem`.
std::string read_private_file(const std::string& path, std::string& problem);

/// Reads at most `size` bytes of an open file; describes an error in `problem`.
std::string read_bytes(int descriptor, std::size_t size, std::string& problem);

}  // namespace cardbroker
