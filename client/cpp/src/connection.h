// The one connection that a client and its copies share: made when it is needed, and made anew when it is lost.
#pragma once

#include <cardbroker/client.h>
#include <grpcpp/grpcpp.h>

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

    /// The channel, connected, after the connect timeout and `at_most` this time; so whatever fails before this returns
    /// was not sent. Asks again while nobody is there.
    ///
    /// Throws NotRunning.
    std::shared_ptr<grpc::Channel> connected(std::chrono::nanoseconds at_most = std::chrono::nanoseconds::max());

    /// A channel of its own that has not connected yet.
    std::shared_ptr<grpc::Channel> fresh() const;

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
