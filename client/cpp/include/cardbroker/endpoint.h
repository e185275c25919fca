// Endpoints of a broker.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cardbroker {

/// The address of a broker: `unix:/path`, `unix:///path` or `https://HOST:PORT`, or for plain TCP `http://HOST:PORT`.
/// The host is `localhost`, which means 127.0.0.1, or a loopback address, because a broker serves its own machine only.
class Endpoint {
public:
    /// Throws InvalidRequest for any other text.
    explicit Endpoint(std::string_view text);
    /// The endpoint in the variable `CARDBROKER_ENDPOINT`; empty if that is unset or empty.
    static std::optional<Endpoint> from_environment();

    /// Whether the endpoint is a Unix socket.
    bool is_unix() const noexcept { return is_unix_; }
    /// Whether TCP is without TLS: a program that takes or relays the port reads tokens and PINs.
    bool is_plain() const noexcept { return is_plain_; }
    /// The socket's path, or `HOST:PORT`.
    const std::string& address() const noexcept { return address_; }
    /// The notation for people: `unix:/path`, `https://HOST:PORT` or `http://HOST:PORT`.
    std::string to_string() const;

private:
    bool is_unix_;
    bool is_plain_;
    std::string address_;
};

}  // namespace cardbroker
