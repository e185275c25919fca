// Random bytes from the operating system, because the standard promises no entropy from std::random_device.
#include "random.h"

#include <stdexcept>

#ifdef _WIN32
// bcrypt.h needs the types of windows.h.
// clang-format off
#include <windows.h>
#include <bcrypt.h>
// clang-format on
#else
#ifdef __APPLE__
#include <sys/random.h>
#endif
#include <unistd.h>
#endif

namespace cardbroker {

std::string random_bytes(std::size_t size) {
    std::string bytes(size, '\0');
#ifdef _WIN32
    auto* const first = reinterpret_cast<PUCHAR>(&bytes[0]);
    const bool filled = BCryptGenRandom(nullptr, first, static_cast<ULONG>(size), BCRYPT_USE_SYSTEM_PREFERRED_RNG) == 0;
#else
    const bool filled = getentropy(&bytes[0], size) == 0;
#endif
    if (!filled) throw std::runtime_error("the operating system has no random numbers");
    return bytes;
}

}  // namespace cardbroker
