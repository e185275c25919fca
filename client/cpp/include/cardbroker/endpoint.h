// Endpoints of a broker.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cardbroker {

/// The address of a broker: `unix:/path`, `unix:///path`, `https://HOST:PORT`, `tcp:auto` for the port in the endpoint
/// file of this user's broker, or for plain TCP `http://HOST:PORT`. The host is `localhost`, which means 127.0.0.1, or
/// an IP address, for plain TCP one of this machine.
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
    /// Whether the endpoint is `tcp:auto`.
    bool is_auto() const noexcept { return is_auto_; }
    /// Whether the endpoint is a TCP port of this machine.
    bool is_loopback() const noexcept { return is_loopback_; }
    /// The socket's path, or `HOST:PORT`; empty for `tcp:auto`.
    const std::string& address() const noexcept { return address_; }
    /// The notation for people: `unix:/path`, `https://HOST:PORT`, `http://HOST:PORT` or `tcp:auto`.
    std::string to_string() const;

private:
    bool is_unix_;
    bool is_plain_;
    bool is_auto_;
    bool is_loopback_ = false;
    std::string address_;
};

}  // namespace cardbroker
