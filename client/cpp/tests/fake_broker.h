// A broker in the test's own process, on a TCP port, with answers that the test defines.
#pragma once

#include <cardbroker/cardbroker.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cardbroker/v1/service.grpc.pb.h"

namespace cardbroker::tests {

class FakeBroker : private v1::CardBrokerService::Service {
public:
    FakeBroker();
    ~FakeBroker() override;

    Client client(const std::string& token_file = "") const;

    /// The answer to the n-th Transmit, counted from 0.
    std::function<grpc::Status(std::size_t, v1::TransmitResponse&, grpc::ServerContext&)> answer;

    /// The behaviour in a session.
    std::function<grpc::Status(grpc::ServerReaderWriter<v1::OpenSessionResponse, v1::OpenSessionRequest>&)> session;

    /// The reported lifetime of outcomes.
    std::chrono::seconds outcome_lifetime{600};

    /// Runs before the answer to a GetReader.
    std::function<void(grpc::ServerContext&)> before_reader = [](grpc::ServerContext&) {};

    /// The readers of the broker.
    std::vector<v1::Reader> readers;

    /// The messages in a watch of turns before its end.
    std::vector<v1::WatchTurnResponse> turns;

    /// The messages in the n-th watch, counted from 0, before its end.
    std::function<v1::WatchReadersResponse(std::size_t)> snapshot;

    /// The Transmit requests so far.
    std::vector<v1::TransmitRequest> requests() const;
    /// The resume tokens of the watches so far.
    std::vector<std::string> resume_tokens() const;
    /// The values of a metadata key in the calls so far; "none" where it was not sent.
    std::vector<std::string> metadata(const std::string& key) const;
    /// The TCP port of the broker.
    int port() const { return port_; }

private:
    grpc::Status GetBroker(grpc::ServerContext*, const v1::GetBrokerRequest*, v1::GetBrokerResponse*) override;
    grpc::Status GetReader(grpc::ServerContext*, const v1::GetReaderRequest*, v1::GetReaderResponse*) override;
    grpc::Status ListReaders(grpc::ServerContext*, const v1::ListReadersRequest*, v1::ListReadersResponse*) override;
    grpc::Status Transmit(grpc::ServerContext*, const v1::TransmitRequest*, v1::TransmitResponse*) override;
    grpc::Status WatchReaders(grpc::ServerContext*, const v1::WatchReadersRequest*,
                              grpc::ServerWriter<v1::WatchReadersResponse>*) override;
    grpc::Status WatchTurn(grpc::ServerContext*, const v1::WatchTurnRequest*,
                           grpc::ServerWriter<v1::WatchTurnResponse>*) override;
    grpc::Status OpenSession(grpc::ServerContext*,
                             grpc::ServerReaderWriter<v1::OpenSessionResponse, v1::OpenSessionRequest>*) override;
    void note(const grpc::ServerContext& context);

    mutable std::mutex mutex_;
    std::vector<v1::TransmitRequest> requests_;
    std::vector<std::string> resume_tokens_;
    std::vector<std::multimap<std::string, std::string>> metadata_;
    int port_ = 0;
    std::unique_ptr<grpc::Server> server_;
};

/// Makes a status with a Failure of the broker in its details.
grpc::Status refused(v1::ErrorReason reason, v1::Delivery delivery, grpc::StatusCode code);
/// Makes a status with these details.
grpc::Status detailed(grpc::StatusCode code, const std::vector<std::pair<std::string, std::string>>& details);

}  // namespace cardbroker::tests
