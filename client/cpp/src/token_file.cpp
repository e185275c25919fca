// The token file for a TCP endpoint.
#include "token_file.h"

#include <cardbroker/error.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include "private_file.h"

namespace cardbroker {

namespace {

void trim(std::string& text) {
    const char* const blank = " \t\r\n\v\f";
    text.erase(0, text.find_first_not_of(blank));
    text.erase(text.find_last_not_of(blank) + 1);
}

/// Whether this is one certificate in PEM and nothing else.
bool is_certificate(std::string_view text) {
    constexpr std::string_view begin = "-----BEGIN CERTIFICATE-----";
    constexpr std::string_view end = "-----END CERTIFICATE-----";
    if (text.size() < begin.size() + end.size() || text.substr(0, begin.size()) != begin) return false;
    const std::string_view body = text.substr(begin.size());
    return body.find('-') == body.size() - end.size() && body.substr(body.size() - end.size()) == end;
}

}  // namespace

bool is_visible(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char character) { return character > ' ' && character <= '~'; });
}

TokenFile read_token_file(const std::string& file, const Endpoint& endpoint) {
    const std::string made = "as made by \"cardbroker token new\"";
    const auto unusable = [&](const std::string& why) {
        return InvalidRequest("token_file", "the token file " + file + ' ' + why);
    };
    std::string problem;
    std::string token = read_private_file(file, problem);
    if (!problem.empty()) throw unusable(problem);
    trim(token);
    std::string certificate;
    if (const std::size_t line_end = token.find('\n'); line_end != token.npos) {
        certificate = token.substr(line_end + 1);
        token.resize(line_end);
        trim(token);
        trim(certificate);
    }
    if (token.empty() || !is_visible(token)) throw unusable("holds no token: one line of visible ASCII, " + made);
    if (!certificate.empty() && !is_certificate(certificate)) {
        throw unusable("has more than a token and a certificate in PEM, " + made);
    }
    if (certificate.empty() && !endpoint.is_plain()) {
        throw unusable(
            "has no certificate: make a new one with \"cardbroker token new\", or use http:// for plain TCP");
    }
    if (!certificate.empty() && endpoint.is_plain()) {
        throw unusable("has a certificate, and http:// is plain TCP: use https://");
    }
    return {std::move(token), std::move(certificate)};
}

}  // namespace cardbroker
