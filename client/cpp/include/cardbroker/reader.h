// Readers: what they are and which state they are in.
#pragma once

#include <cardbroker/enums.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace cardbroker {

/// A smart-card reader and the card in it. The comments in proto/cardbroker/v1/reader.proto say more about each field.
struct Reader {
    /// `readers/{id}`, stable while the broker runs.
    std::string name;
    /// The name that PC/SC gives it.
    std::string display_name;
    /// The state that it is in.
    ReaderState state = ReaderState::Unspecified;
    /// The card's answer to reset, 2–33 bytes; empty unless a card has answered one.
    std::vector<std::uint8_t> atr;
    /// The protocol agreed with the card; unspecified unless the reader is ready.
    CardProtocol active_protocol = CardProtocol::Unspecified;
    /// Names this insertion of this card; empty without a card. Compare for equality only.
    std::string insertion_id;
    /// How many insertions the broker has seen in this reader. For display only.
    std::int64_t insertion_count = 0;
};

/// Whether all fields are equal.
bool operator==(const Reader& left, const Reader& right);
inline bool operator!=(const Reader& left, const Reader& right) { return !(left == right); }

/// Which reader is meant, in any of the ways to say it: a Reader, its name `readers/{id}`, its plain id (a–z, 0–9 and -
/// only), or any other text: its display name, for which the broker is asked at each call.
class ReaderName {
public:
    ReaderName(const Reader& reader) : text_(reader.name) {}
    ReaderName(std::string text) : text_(std::move(text)) {}
    ReaderName(const char* text) : text_(text) {}

    /// As it was given.
    const std::string& text() const noexcept { return text_; }

private:
    std::string text_;
};

}  // namespace cardbroker
