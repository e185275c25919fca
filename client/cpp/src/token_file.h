// The token file for a TCP endpoint.
#pragma once

#include <cardbroker/endpoint.h>

#include <string>

namespace cardbroker {

/// Whether all characters are visible ASCII. gRPC ends the program for other metadata.
bool is_visible(const std::string& text);

/// What a token file holds: the token in its first line, and the broker's certificate in PEM, empty for plain TCP.
struct TokenFile {
    std::string token;
    std::string certificate;
};

/// Reads the token file for an endpoint. With TLS it needs the certificate; a token that came with one is not sent over
/// plain TCP.
///
/// Throws InvalidRequest if the file cannot be used.
TokenFile read_token_file(const std::string& file, const Endpoint& endpoint);

}  // namespace cardbroker
