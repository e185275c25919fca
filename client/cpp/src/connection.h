// The connection that a client and its copies share: opened at the first need, and reopened after a loss.
#pragma once

#include <cardbroker/client.h>
#include <cardbroker/error.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cardbroker/v1/service.grpc.pb.h"
#include "places.h"

namespace cardbroker {

using Stub = v1::CardBrokerService::Stub;

/// An endpoint at which a client looks for its broker.
struct Target {
    Endpoint endpoint;
    /// The file that nobody has named, whose way must be trusted: a default socket, or the endpoint file.
    std::optional<Place> place;
};

/// All that one connection is made by. Its calls send no token of another reading of the file.
struct Route {
    /// A socket or a port.
    Endpoint endpoint;
    /// The broker's certificate in PEM, the only one to accept; empty without TLS.
    std::string certificate;
    /// The token of an endpoint file; empty if the calls read the token file, if any.
    std::string token;
};

/// A channel of gRPC and what it was made by.
struct Line {
    std::shared_ptr<grpc::Channel> channel;
    std::shared_ptr<const Route> route;
};

/// Why there is no broker, and whether waiting may help.
struct Away {
    NotRunning error;
    bool waiting_helps;
};

/// Where a client looks for its broker: at the named endpoint, or without one at the default ones in their order.
std::vector<Target> targets_of(std::optional<Endpoint> named, bool is_windows);

class Connection {
public:
    /// For the named endpoint, or without one for the first default place that works.
    ///
    /// Throws Error if the options cannot be used.
    Connection(std::optional<Endpoint> named, ConnectOptions options);
    /// For the first of these targets that works.
    ///
    /// Throws Error if the options cannot be used.
    Connection(std::vector<Target> targets, ConnectOptions options);

    const Endpoint& endpoint() const noexcept { return targets_.front().endpoint; }

    using Clock = std::chrono::steady_clock;

    /// Returns the line with a connection, so that every failure before is NotSent. Waits for a broker that is away, up
    /// to the connect timeout or `end`, whichever comes first.
    ///
    /// Throws NotRunning, or Error if `end` has passed.
    Line connected(Clock::time_point end = Clock::time_point::max());

    /// Makes a channel of its own that has not connected yet.
    ///
    /// Throws Error if the certificate for it cannot be read.
    std::variant<Line, Away> fresh() const;

    /// Looks once more why no broker answers.
    Away why_away() const;

    /// The longest wait of a call for a broker that is away; at most `max_deadline`.
    std::chrono::nanoseconds connect_timeout() const noexcept;

    /// Adds the group and the token to a call on the line.
    ///
    /// Throws Error if the token cannot be read, or is for another broker.
    void sign(grpc::ClientContext& context, const Line& line) const;

private:
    /// What leads to the target now, after a look at the way: reads the endpoint file, or the certificate in the token
    /// file.
    std::variant<Route, Finding> route_to(const Target& target) const;
    /// The latest line, if it is connected; empty otherwise. Throws NotRunning if its place is not trusted any more.
    std::optional<Line> present();

    /// The named endpoint, or the default places in their order. The first connection, before the client is shared,
    /// leaves the one that worked.
    std::vector<Target> targets_;
    const ConnectOptions options_;
    std::mutex mutex_;
    /// The latest line, guarded by `mutex_`.
    std::optional<Line> line_;
};

}  // namespace cardbroker
