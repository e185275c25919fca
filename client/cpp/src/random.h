// Random bytes from the operating system.
#pragma once

#include <string>

namespace cardbroker {

/// Makes `size` bytes that cannot be guessed, at most 256.
///
/// Throws std::runtime_error if the operating system has none.
std::string random_bytes(std::size_t size);

}  // namespace cardbroker
