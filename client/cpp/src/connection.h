// The connection that a client and its copies share: opened at the first need, and reopened after a loss.
#pragma once

#include <cardbroker/client.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>

#include "cardbroker/v1/service.grpc.pb.h"

namespace cardbroker {

using Stub = v1::CardBrokerService::Stub;

class Connection {
public:
    /// Throws Error if the options cannot be used.
    Connection(Endpoint endpoint, ConnectOptions options);

    const Endpoint& endpoint() const noexcept { return endpoint_; }

    using Clock = std::chrono::steady_clock;

    /// Returns the connected channel, so that every failure before is NotSent. Waits for a broker that is away, up to
    /// the connect timeout or `end`, whichever comes first.
    ///
    /// Throws NotRunning, or Error if `end` has passed.
    std::shared_ptr<grpc::Channel> connected(Clock::time_point end = Clock::time_point::max());

    /// Makes a channel of its own that has not connected yet.
    std::shared_ptr<grpc::Channel> fresh() const;

    /// Whether this user has no permission to open the socket; waiting does not help then.
    bool is_forbidden() const;

    /// The longest wait of a call for a broker that is away; at most `max_deadline`.
    std::chrono::nanoseconds connect_timeout() const noexcept;

    /// Adds the group and the token to a call.
    ///
    /// Throws Error if the token cannot be read.
    void sign(grpc::ClientContext& context) const;

private:
    const Endpoint endpoint_;
    const ConnectOptions options_;
    std::mutex mutex_;
    /// The latest channel, guarded by `mutex_`.
    std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace cardbroker
