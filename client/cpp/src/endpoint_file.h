// The file in which a broker that chose its TCP port itself (`--tcp auto`) leaves its endpoint for its user: the port,
// a token and the broker's certificate. It is read anew before each connection; all three belong together.
#pragma once

#include <cardbroker/endpoint.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "places.h"

namespace cardbroker {

struct EndpointFile {
    /// A TCP port of this machine, with TLS.
    Endpoint endpoint;
    std::string token;
    /// The broker's certificate in PEM.
    std::string certificate;
    /// The broker's process, at least 1.
    std::uint32_t pid;
    /// The process's start, in the system's ticks since its boot, where the broker could tell it.
    std::optional<std::uint64_t> start_time;
};

/// Parses the text of an endpoint file. Returns nothing and describes the problem in `problem` if it cannot.
std::optional<EndpointFile> parse_endpoint_file(const std::string& text, std::string& problem);

/// Reads the file of a broker that still runs, if no other user decides what is there; else says why not.
std::variant<EndpointFile, Finding> read_endpoint_file(const Place& place, uid_t uid);

/// Whether the process has ended, as far as the system tells; another one may have its number now.
bool has_ended(std::uint32_t pid, std::optional<std::uint64_t> start_time);

}  // namespace cardbroker
