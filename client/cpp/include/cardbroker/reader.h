// Readers: their properties, and the ways to name one.
#pragma once

#include <cardbroker/enums.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace cardbroker {

/// A smart-card reader and the card in it; proto/cardbroker/v1/reader.proto documents each field.
struct Reader {
    /// The resource name, `readers/{id}`, stable while the broker runs.
    std::string name;
    /// The reader's PC/SC name, for people.
    std::string display_name;
    /// The state of the reader and its card.
    ReaderState state = ReaderState::Unspecified;
    /// The card's answer to reset, 2–33 bytes; empty without a card or without its answer.
    std::vector<std::uint8_t> atr;
    /// The protocol negotiated with the card; Unspecified unless the state is Ready.
    CardProtocol active_protocol = CardProtocol::Unspecified;
    /// Identifies this insertion of this card; empty without a card. Compare for equality only.
    std::string insertion_id;
    /// The count of insertions in this reader since the broker started. For display only.
    std::int64_t insertion_count = 0;
};

/// Whether all fields are equal.
bool operator==(const Reader& left, const Reader& right);
inline bool operator!=(const Reader& left, const Reader& right) { return !(left == right); }

/// A reader, given as a Reader, as its name `readers/{id}`, as its id (a–z, 0–9 and - only), or as its display name
/// (any other text), which every call looks up at the broker.
class ReaderName {
public:
    ReaderName(const Reader& reader) : text_(reader.name) {}
    ReaderName(std::string text) : text_(std::move(text)) {}
    ReaderName(const char* text) : text_(text) {}

    /// The text of the constructor, or the name of its Reader.
    const std::string& text() const noexcept { return text_; }

private:
    std::string text_;
};

}  // namespace cardbroker
