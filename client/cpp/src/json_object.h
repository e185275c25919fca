// The text of one JSON object, read strictly (RFC 8259). Numbers keep their spelling, which a double would lose.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace cardbroker {

struct JsonValue {
    enum class Kind { Text, Number, Other };

    Kind kind = Kind::Other;
    /// The text, or the number as it is spelt; empty for values of other kinds.
    std::string text;
};

/// The keys of the object. Of a key that comes twice the last value counts.
using JsonObject = std::map<std::string, JsonValue>;

/// Parses a text that is exactly one object. Objects and lists inside are checked, but not kept.
std::optional<JsonObject> parse_json_object(std::string_view json);

/// Whether the bytes are text in UTF-8.
bool is_utf8(std::string_view bytes);

}  // namespace cardbroker
