// The type for APDU bytes: wiped when destroyed, never printed.
#include <cardbroker/apdu_bytes.h>

#include <ostream>
#include <stdexcept>
#include <utility>

#include "wipe.h"

namespace cardbroker {

ApduBytes::ApduBytes(const void* bytes, std::size_t size)
    : bytes_(static_cast<const std::uint8_t*>(bytes), static_cast<const std::uint8_t*>(bytes) + size) {}

// By copy or move and swap: the old bytes are wiped with `other`.
ApduBytes& ApduBytes::operator=(ApduBytes other) noexcept {
    bytes_.swap(other.bytes_);
    return *this;
}

ApduBytes::~ApduBytes() {
    if (!bytes_.empty()) wipe(bytes_.data(), bytes_.size());
}

namespace {

std::uint8_t digit(char character) {
    if (character >= '0' && character <= '9') return static_cast<std::uint8_t>(character - '0');
    if (character >= 'A' && character <= 'F') return static_cast<std::uint8_t>(character - 'A' + 10);
    if (character >= 'a' && character <= 'f') return static_cast<std::uint8_t>(character - 'a' + 10);
    throw std::invalid_argument("not a hexadecimal digit");
}

}  // namespace

ApduBytes ApduBytes::from_hex(std::string_view text) {
    ApduBytes result;
    // Reserves the full size, because a growing vector leaves unwiped copies behind.
    result.bytes_.reserve(text.size() / 2);
    for (std::size_t at = 0; at < text.size();) {
        if (text[at] == ' ') {
            ++at;
            continue;
        }
        if (at + 1 == text.size()) throw std::invalid_argument("an odd number of hexadecimal digits");
        result.bytes_.push_back(static_cast<std::uint8_t>(digit(text[at]) << 4 | digit(text[at + 1])));
        at += 2;
    }
    return result;
}

std::ostream& operator<<(std::ostream& out, const ApduBytes&) { return out << "[redacted]"; }

}  // namespace cardbroker
