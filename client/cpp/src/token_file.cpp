// The token file for a TCP endpoint.
#include "token_file.h"

#include <cardbroker/error.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "private_file.h"

namespace cardbroker {

namespace {

constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const std::string made = "as made by \"cardbroker token new\"";
const std::string make = "make a new one with \"cardbroker token new\"";

std::string decoded(const std::string& base64) {
    std::string bytes;
    std::uint32_t bits = 0;
    int count = 0;
    for (const char digit : base64.substr(0, base64.find('='))) {
        bits = bits << 6 | static_cast<std::uint32_t>(base64_digits.find(digit));
        count += 6;
        if (count < 8) continue;
        count -= 8;
        bytes += static_cast<char>(bits >> count & 0xFF);
    }
    return bytes;
}

}  // namespace

void trim(std::string& text) {
    const char* const blank = " \t\r\n\v\f";
    text.erase(0, text.find_first_not_of(blank));
    text.erase(text.find_last_not_of(blank) + 1);
}

bool is_visible(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char character) { return character > ' ' && character <= '~'; });
}

std::string certificate_in(std::string_view pem) {
    constexpr std::string_view begin = "-----BEGIN CERTIFICATE-----";
    constexpr std::string_view end = "-----END CERTIFICATE-----";
    if (pem.size() < begin.size() + end.size() || pem.substr(0, begin.size()) != begin) return "";
    pem.remove_prefix(begin.size());
    if (pem.substr(pem.size() - end.size()) != end) return "";
    pem.remove_suffix(end.size());
    std::string base64;
    for (const char character : pem) {
        if (std::string_view(" \t\r\n\v\f").find(character) == std::string_view::npos) base64 += character;
    }
    const std::size_t digits = std::min(base64.find_first_not_of(base64_digits), base64.size());
    const std::string padding = base64.substr(digits);
    const bool is_padded = padding.empty() || padding == "=" || padding == "==";
    return is_padded && base64.size() % 4 == 0 ? base64 : "";
}

bool is_authority(const std::string& base64) {
    const std::string certificate = decoded(base64);
    // The extension basicConstraints (2.5.29.19), perhaps critical, with a SEQUENCE whose first element is TRUE. In a
    // certificate it is there at most once.
    constexpr std::string_view name("\x06\x03\x55\x1D\x13", 5);
    constexpr std::string_view is_critical("\x01\x01\xFF", 3);
    const std::size_t at = certificate.find(name);
    if (at == certificate.npos) return false;
    std::string_view rest = std::string_view(certificate).substr(at + name.size());
    if (rest.substr(0, is_critical.size()) == is_critical) rest.remove_prefix(is_critical.size());
    // OCTET STRING and its length, SEQUENCE and its length, BOOLEAN of one byte.
    return rest.size() > 6 && rest[0] == 0x04 && rest[2] == 0x30 && rest[4] == 0x01 && rest[5] == 0x01 && rest[6] != 0;
}

TokenFile parse_token_file(std::string text, std::string& problem) {
    TokenFile found;
    trim(text);
    const std::size_t line_end = std::min(text.find('\n'), text.size());
    found.token = text.substr(0, line_end);
    found.certificate = text.substr(line_end);
    trim(found.token);
    trim(found.certificate);
    const std::string base64 = certificate_in(found.certificate);
    if (found.token.empty() || !is_visible(found.token)) {
        problem = "holds no token: one line of visible ASCII, " + made;
    } else if (!found.certificate.empty() && base64.empty()) {
        problem = "has more than a token and a certificate in PEM, " + made;
    } else if (is_authority(base64)) {
        problem = "has the certificate of an authority, which could sign others: " + make;
    }
    return found;
}

TokenFile read_token_file(const std::string& file, const Endpoint& endpoint) {
    const auto unusable = [&](const std::string& why) {
        return InvalidRequest("token_file", "the token file " + file + ' ' + why);
    };
    std::string problem;
    std::string text = read_private_file(file, problem);
    if (!problem.empty()) throw unusable(problem);
    TokenFile found = parse_token_file(std::move(text), problem);
    if (!problem.empty()) throw unusable(problem);
    if (found.certificate.empty() && !endpoint.is_plain()) {
        throw unusable("has no certificate: " + make + ", or use http:// for plain TCP");
    }
    if (!found.certificate.empty() && endpoint.is_plain()) {
        throw unusable("has a certificate, and http:// is plain TCP: use https://");
    }
    return found;
}

}  // namespace cardbroker
