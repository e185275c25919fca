// Endpoints of a broker.
#include <arpa/inet.h>
#include <cardbroker/endpoint.h>
#include <cardbroker/error.h>

#include <cstdlib>

#include "names.h"

namespace cardbroker {

namespace {

InvalidRequest no_endpoint(std::string_view text) {
    return InvalidRequest("endpoint", '"' + std::string(text) +
                                          "\" is not an endpoint: use unix:/path, https://127.0.0.1:port or tcp:auto");
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

/// The kinds of hosts; only names that need no resolution and addresses count as hosts.
enum class Host { None, Unspecified, Loopback, Other };

Host host_of(const std::string& host) {
    if (host == "localhost") return Host::Loopback;
    in_addr v4{};
    if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
        if (v4.s_addr == 0) return Host::Unspecified;
        return ntohl(v4.s_addr) >> 24 == 127 ? Host::Loopback : Host::Other;
    }
    in6_addr v6{};
    const bool is_bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (!is_bracketed || inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6) != 1) return Host::None;
    if (IN6_IS_ADDR_UNSPECIFIED(&v6)) return Host::Unspecified;
    return IN6_IS_ADDR_LOOPBACK(&v6) ? Host::Loopback : Host::Other;
}

bool is_port(std::string_view text) {
    if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != text.npos) return false;
    return (text.size() == 1 || text.front() != '0') && std::stoul(std::string(text)) <= 65535;
}

}  // namespace

Endpoint::Endpoint(std::string_view text)
    : is_unix_(starts_with(text, "unix:")),
      is_plain_(starts_with(text, "http://")),
      is_auto_(text == names::automatic) {
    if (is_auto_) return;
    if (is_unix_) {
        std::string_view path = text.substr(5);
        if (starts_with(path, "//")) path.remove_prefix(2);
        if (path.empty() || path.front() != '/' || path.back() == '/') throw no_endpoint(text);
        address_ = path;
        return;
    }
    if (!is_plain_ && !starts_with(text, "https://")) throw no_endpoint(text);
    std::string_view address = text.substr(is_plain_ ? 7 : 8);
    if (!address.empty() && address.back() == '/') address.remove_suffix(1);
    const std::size_t colon = address.rfind(':');
    if (colon == address.npos || !is_port(address.substr(colon + 1))) throw no_endpoint(text);
    const Host host = host_of(std::string(address.substr(0, colon)));
    if (host != Host::Loopback && (is_plain_ || host != Host::Other)) throw no_endpoint(text);
    address_ = address;
    is_loopback_ = host == Host::Loopback;
}

std::optional<Endpoint> Endpoint::from_environment() {
    const char* text = std::getenv(names::endpoint_variable);
    if (!text || !*text) return std::nullopt;
    return Endpoint(text);
}

std::string Endpoint::to_string() const {
    if (is_auto_) return names::automatic;
    return (is_unix_ ? "unix:" : is_plain_ ? "http://" : "https://") + address_;
}

}  // namespace cardbroker
