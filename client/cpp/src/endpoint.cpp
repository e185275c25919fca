// Endpoints of a broker.
#include <arpa/inet.h>
#include <cardbroker/endpoint.h>
#include <cardbroker/error.h>

#include <cstdlib>

#include "names.h"

namespace cardbroker {

namespace {

InvalidRequest no_endpoint(std::string_view text) {
    return InvalidRequest("endpoint",
                          '"' + std::string(text) + "\" is not an endpoint: use unix:/path or https://127.0.0.1:port");
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

bool is_loopback(const std::string& host) {
    if (host == "localhost") return true;
    in_addr v4{};
    if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
    in6_addr v6{};
    if (host.size() < 2 || host.front() != '[' || host.back() != ']') return false;
    return inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool is_port(std::string_view text) {
    if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != text.npos) return false;
    return (text.size() == 1 || text.front() != '0') && std::stoul(std::string(text)) <= 65535;
}

}  // namespace

Endpoint::Endpoint(std::string_view text)
    : is_unix_(starts_with(text, "unix:")), is_plain_(starts_with(text, "http://")) {
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
    if (colon == address.npos || !is_port(address.substr(colon + 1)) ||
        !is_loopback(std::string(address.substr(0, colon)))) {
        throw no_endpoint(text);
    }
    address_ = address;
}

std::optional<Endpoint> Endpoint::from_environment() {
    const char* text = std::getenv(names::endpoint_variable);
    if (!text || !*text) return std::nullopt;
    return Endpoint(text);
}

std::string Endpoint::to_string() const { return (is_unix_ ? "unix:" : is_plain_ ? "http://" : "https://") + address_; }

}  // namespace cardbroker
