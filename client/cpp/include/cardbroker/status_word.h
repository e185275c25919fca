// The meanings of status words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cardbroker {

/// The meaning of a status word: 0x6A82 is "file or application not found". Empty if ISO 7816-4 §5.6 defines none,
/// because applications define their own.
std::optional<std::string> meaning(std::uint16_t status_word);

}  // namespace cardbroker
