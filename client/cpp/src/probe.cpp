// One attempt to connect to an endpoint.
#include "probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cardbroker {

namespace {

/// Fills in the address and returns its length.
socklen_t address_of(const Endpoint& endpoint, sockaddr_storage& where) {
    if (endpoint.is_unix()) {
        auto& local = reinterpret_cast<sockaddr_un&>(where);
        local.sun_family = AF_UNIX;
        endpoint.address().copy(local.sun_path, sizeof local.sun_path - 1);
        return sizeof local;
    }
    const std::string address = numeric_address(endpoint);
    const std::size_t colon = address.rfind(':');
    const auto port = htons(static_cast<std::uint16_t>(std::stoul(address.substr(colon + 1))));
    if (address.front() == '[') {
        auto& v6 = reinterpret_cast<sockaddr_in6&>(where);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = port;
        inet_pton(AF_INET6, address.substr(1, colon - 2).c_str(), &v6.sin6_addr);
        return sizeof v6;
    }
    auto& v4 = reinterpret_cast<sockaddr_in&>(where);
    v4.sin_family = AF_INET;
    v4.sin_port = port;
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &v4.sin_addr);
    return sizeof v4;
}

}  // namespace

std::string numeric_address(const Endpoint& endpoint) {
    constexpr std::string_view name = "localhost:";
    const std::string& address = endpoint.address();
    return address.compare(0, name.size(), name) == 0 ? "127.0.0.1:" + address.substr(name.size()) : address;
}

Finding probe(const Endpoint& endpoint) {
    const std::string path = endpoint.is_unix() ? endpoint.address() : "";
    sockaddr_storage where{};
    const socklen_t length = address_of(endpoint, where);
    const int descriptor = ::socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return finding_of(errno, path);
    const timeval limit{1, 0};
    ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const bool connected = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&where), length) == 0;
    const int error = connected ? 0 : errno;
    ::close(descriptor);
    if (connected && !endpoint.is_unix() && !endpoint.is_plain()) {
        return {Finding::Kind::OtherProgram, "another program: it has another certificate or no TLS", true};
    }
    return finding_of(error, path);
}

}  // namespace cardbroker
