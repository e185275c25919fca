// Status words in plain words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cardbroker {

/// What a status word means: 0x6A82 is "file or application not found". Nothing if ISO 7816-4 §5.6 gives it no meaning,
/// for applications define their own.
std::optional<std::string> meaning(std::uint16_t status_word);

}  // namespace cardbroker
