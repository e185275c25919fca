// Endpoints of a broker.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cardbroker {

/// The address of a broker: `unix:/path`, `unix:///path` or `http://HOST:PORT` with `localhost` or a loopback address,
/// because a broker serves its own machine only.
class Endpoint {
public:
    /// Throws InvalidRequest for any other text.
    explicit Endpoint(std::string_view text);
    /// The endpoint in the variable `CARDBROKER_ENDPOINT`; empty if that is unset or empty.
    static std::optional<Endpoint> from_environment();

    /// Whether the endpoint is a Unix socket.
    bool is_unix() const noexcept { return is_unix_; }
    /// The socket's path, or `HOST:PORT`.
    const std::string& address() const noexcept { return address_; }
    /// The notation for people: `unix:/path` or `http://HOST:PORT`.
    std::string to_string() const;

private:
    bool is_unix_;
    std::string address_;
};

}  // namespace cardbroker
