// The token file for a TCP endpoint.
#pragma once

#include <cardbroker/endpoint.h>

#include <string>
#include <string_view>

namespace cardbroker {

/// Whether all characters are visible ASCII. gRPC ends the program for other metadata.
bool is_visible(const std::string& text);

/// What a token file holds: the token in its first line, and the broker's certificate in PEM, empty for plain TCP.
struct TokenFile {
    std::string token;
    std::string certificate;
};

/// Parses the text of a token file. Otherwise describes the problem in `problem`.
TokenFile parse_token_file(std::string text, std::string& problem);

/// The bytes of the one certificate in the text, in base64; empty if the text is anything else.
std::string certificate_in(std::string_view pem);

/// Whether a holder of the certificate, in base64, could sign others: TLS would accept those in its place.
bool is_authority(const std::string& base64);

/// Removes white space at both ends.
void trim(std::string& text);

/// Reads the token file for an endpoint. With TLS it needs the certificate; a token that came with one is not sent over
/// plain TCP.
///
/// Throws InvalidRequest if the file cannot be used.
TokenFile read_token_file(const std::string& file, const Endpoint& endpoint);

}  // namespace cardbroker
