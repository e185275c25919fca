// The one connection that a client and its copies share: made when it is needed, and made anew when it is lost.
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

    /// The channel, connected; so whatever fails before this returns was not sent. Asks again while nobody is there, up
    /// to the connect timeout or `end`, whichever comes first.
    ///
    /// Throws NotRunning, or Error where `end` has passed before.
    std::shared_ptr<grpc::Channel> connected(Clock::time_point end = Clock::time_point::max());

    /// A channel of its own that has not connected yet.
    std::shared_ptr<grpc::Channel> fresh() const;

    /// Whether the system keeps this user from opening the socket; waiting does not help then.
    bool is_forbidden() const;

    /// How long a call waits for a broker that is not there; at most `max_deadline`.
    std::chrono::nanoseconds patience() const noexcept;

    /// Adds the group and the token to a call.
    ///
    /// Throws Error if the token cannot be read.
    void sign(grpc::ClientContext& context) const;

private:
    const Endpoint endpoint_;
    const ConnectOptions options_;
    std::mutex mutex_;
    /// The latest one, guarded by `mutex_`.
    std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace cardbroker
