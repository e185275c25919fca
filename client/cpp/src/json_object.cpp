// The text of one JSON object, read strictly.
#include "json_object.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace cardbroker {

namespace {

/// The deepest nesting. Each level takes a place on the stack.
constexpr int max_depth = 100;

constexpr std::string_view digits = "0123456789";

bool is_surrogate(std::uint32_t code, std::uint32_t first) { return code >= first && code < first + 0x400; }

void append(std::string& text, std::uint32_t code) {
    const auto rest = [&](int shift) { text += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
    if (code < 0x80) {
        text += static_cast<char>(code);
    } else if (code < 0x800) {
        text += static_cast<char>(0xC0 | code >> 6);
        rest(0);
    } else if (code < 0x10000) {
        text += static_cast<char>(0xE0 | code >> 12);
        rest(6);
        rest(0);
    } else {
        text += static_cast<char>(0xF0 | code >> 18);
        rest(12);
        rest(6);
        rest(0);
    }
}

/// Takes a text apart from its beginning. Each function returns whether it found what it is named after.
class Reader {
public:
    explicit Reader(std::string_view json) : rest_(json) {}

    /// An object between blanks, whose keys go to `found` if there is one.
    bool object(JsonObject* found, int depth) {
        blanks();
        if (depth == 0 || !token('{')) return false;
        blanks();
        if (token('}')) return true;
        do {
            std::string key;
            JsonValue value;
            blanks();
            if (!string(key)) return false;
            blanks();
            if (!token(':') || !any(value, depth - 1)) return false;
            if (found) (*found)[key] = std::move(value);
            blanks();
        } while (token(','));
        return token('}');
    }

    bool end() {
        blanks();
        return rest_.empty();
    }

private:
    bool any(JsonValue& value, int depth) {
        blanks();
        if (rest_.empty()) return false;
        switch (rest_.front()) {
            case '{':
                return object(nullptr, depth);
            case '[':
                return list(depth);
            case '"':
                value.kind = JsonValue::Kind::Text;
                return string(value.text);
            case 't':
                return word("true");
            case 'f':
                return word("false");
            case 'n':
                return word("null");
            default:
                value.kind = JsonValue::Kind::Number;
                return number(value.text);
        }
    }

    bool list(int depth) {
        if (depth == 0 || !token('[')) return false;
        blanks();
        if (token(']')) return true;
        do {
            JsonValue ignored;
            if (!any(ignored, depth - 1)) return false;
            blanks();
        } while (token(','));
        return token(']');
    }

    bool string(std::string& text) {
        if (!token('"')) return false;
        while (!rest_.empty() && rest_.front() != '"') {
            const char next = rest_.front();
            if (static_cast<unsigned char>(next) < 0x20) return false;
            rest_.remove_prefix(1);
            if (next != '\\') {
                text += next;
            } else if (!escape(text)) {
                return false;
            }
        }
        return token('"');
    }

    bool escape(std::string& text) {
        constexpr std::string_view names = "\"\\/bfnrt";
        constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
        if (token('u')) {
            std::uint32_t code = 0;
            std::uint32_t low = 0;
            if (!hexadecimal(code) || is_surrogate(code, 0xDC00)) return false;
            if (is_surrogate(code, 0xD800)) {
                if (!word("\\u") || !hexadecimal(low) || !is_surrogate(low, 0xDC00)) return false;
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            }
            append(text, code);
            return true;
        }
        const std::size_t at = rest_.empty() ? names.npos : names.find(rest_.front());
        if (at == names.npos) return false;
        text += meanings[at];
        rest_.remove_prefix(1);
        return true;
    }

    bool hexadecimal(std::uint32_t& code) {
        constexpr std::string_view lower = "0123456789abcdef";
        constexpr std::string_view upper = "0123456789ABCDEF";
        if (rest_.size() < 4) return false;
        for (const char digit : rest_.substr(0, 4)) {
            const std::size_t value = lower.find(digit) != lower.npos ? lower.find(digit) : upper.find(digit);
            if (value == upper.npos) return false;
            code = code << 4 | static_cast<std::uint32_t>(value);
        }
        rest_.remove_prefix(4);
        return true;
    }

    bool number(std::string& spelling) {
        const std::string_view before = rest_;
        token('-');
        if (!token('0') && !some_digits()) return false;
        if (token('.') && !some_digits()) return false;
        if (token('e') || token('E')) {
            if (!token('+')) token('-');
            if (!some_digits()) return false;
        }
        spelling = before.substr(0, before.size() - rest_.size());
        return true;
    }

    bool some_digits() {
        const std::size_t before = rest_.size();
        rest_.remove_prefix(std::min(rest_.find_first_not_of(digits), rest_.size()));
        return rest_.size() < before;
    }

    bool word(std::string_view expected) {
        if (rest_.substr(0, expected.size()) != expected) return false;
        rest_.remove_prefix(expected.size());
        return true;
    }

    bool token(char expected) { return word(std::string_view(&expected, 1)); }

    void blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }

    std::string_view rest_;
};

}  // namespace

bool is_utf8(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto lead = static_cast<unsigned char>(bytes.front());
        const std::size_t length = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if (length == 0 || length > bytes.size() || lead > 0xF4) return false;
        std::uint32_t code = length == 1 ? lead : lead & (0x7FU >> length);
        for (const char byte : bytes.substr(1, length - 1)) {
            if ((byte & 0xC0) != 0x80) return false;
            code = code << 6 | (static_cast<unsigned char>(byte) & 0x3F);
        }
        std::string shortest;
        append(shortest, code);
        if (shortest.size() != length || code > 0x10FFFF || is_surrogate(code, 0xD800) || is_surrogate(code, 0xDC00)) {
            return false;
        }
        bytes.remove_prefix(length);
    }
    return true;
}

std::optional<JsonObject> parse_json_object(std::string_view json) {
    JsonObject found;
    Reader reader(json);
    const bool is_object = is_utf8(json) && reader.object(&found, max_depth) && reader.end();
    return is_object ? std::optional<JsonObject>(std::move(found)) : std::nullopt;
}

}  // namespace cardbroker
