// The connection that a client and its copies share: opened at the first need, and reopened after a loss.
#pragma once

#include <cardbroker/client.h>
#include <cardbroker/error.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cardbroker/v1/service.grpc.pb.h"
#include "places.h"

namespace cardbroker {

using Stub = v1::CardBrokerService::Stub;

/// An endpoint, and its default place unless somebody has named it.
struct Target {
    Endpoint endpoint;
    std::optional<Place> place;
};

class Connection {
public:
    /// For the named endpoint, or without one for the first default place that works.
    ///
    /// Throws Error if the options cannot be used.
    Connection(std::optional<Endpoint> named, ConnectOptions options);

    const Endpoint& endpoint() const noexcept { return targets_.front().endpoint; }

    using Clock = std::chrono::steady_clock;

    /// Returns the connected channel, so that every failure before is NotSent. Waits for a broker that is away, up to
    /// the connect timeout or `end`, whichever comes first.
    ///
    /// Throws NotRunning, or Error if `end` has passed.
    std::shared_ptr<grpc::Channel> connected(Clock::time_point end = Clock::time_point::max());

    /// Makes a channel of its own that has not connected yet.
    ///
    /// Throws NotRunning if the broker's place is not trusted, or Error if the certificate for it cannot be read.
    std::shared_ptr<grpc::Channel> fresh() const;

    /// Looks once more why no broker answers. Returns the finding, and whether waiting may help.
    std::pair<NotRunning, bool> why_away() const;

    /// The longest wait of a call for a broker that is away; at most `max_deadline`.
    std::chrono::nanoseconds connect_timeout() const noexcept;

    /// Adds the group and the token to a call.
    ///
    /// Throws Error if the token cannot be read.
    void sign(grpc::ClientContext& context) const;

private:
    /// The named endpoint, or the default places in their order. The first connection, before the client is shared,
    /// leaves the one that worked.
    std::vector<Target> targets_;
    const ConnectOptions options_;
    std::mutex mutex_;
    /// The latest channel, guarded by `mutex_`.
    std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace cardbroker
