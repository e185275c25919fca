// A broker in the test's own process, on a TCP port, with answers that the test defines.
#include "fake_broker.h"

namespace cardbroker::tests {

FakeBroker::FakeBroker() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
}

FakeBroker::~FakeBroker() {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
}

Client FakeBroker::client(const std::string& token_file) const {
    ConnectOptions options;
    options.token_file = token_file;
    return Client(Endpoint("http://127.0.0.1:" + std::to_string(port_)), options);
}

std::vector<v1::TransmitRequest> FakeBroker::requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
}

std::vector<std::string> FakeBroker::resume_tokens() const {
    const std::lock_guard lock(mutex_);
    return resume_tokens_;
}

std::vector<std::string> FakeBroker::metadata(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> values;
    for (const auto& call : metadata_) {
        const auto found = call.find(key);
        values.push_back(found == call.end() ? "none" : found->second);
    }
    return values;
}

grpc::Status FakeBroker::GetBroker(grpc::ServerContext*, const v1::GetBrokerRequest*, v1::GetBrokerResponse* response) {
    response->mutable_limits()->mutable_outcome_lifetime()->set_seconds(outcome_lifetime.count());
    return grpc::Status::OK;
}

grpc::Status FakeBroker::GetReader(grpc::ServerContext* context, const v1::GetReaderRequest* request,
                                   v1::GetReaderResponse* response) {
    before_reader(*context);
    for (const v1::Reader& reader : readers) {
        if (reader.name() == request->name()) *response->mutable_reader() = reader;
    }
    return grpc::Status::OK;
}

grpc::Status FakeBroker::ListReaders(grpc::ServerContext* context, const v1::ListReadersRequest*,
                                     v1::ListReadersResponse* response) {
    note(*context);
    for (const v1::Reader& reader : readers) *response->add_readers() = reader;
    return grpc::Status::OK;
}

grpc::Status FakeBroker::Transmit(grpc::ServerContext* context, const v1::TransmitRequest* request,
                                  v1::TransmitResponse* response) {
    note(*context);
    std::size_t number = 0;
    {
        const std::lock_guard lock(mutex_);
        number = requests_.size();
        requests_.push_back(*request);
    }
    return answer(number, *response, *context);
}

grpc::Status FakeBroker::WatchReaders(grpc::ServerContext*, const v1::WatchReadersRequest* request,
                                      grpc::ServerWriter<v1::WatchReadersResponse>* writer) {
    std::size_t number = 0;
    {
        const std::lock_guard lock(mutex_);
        number = resume_tokens_.size();
        resume_tokens_.push_back(request->resume_token());
    }
    writer->Write(snapshot(number));
    return grpc::Status::OK;
}

grpc::Status FakeBroker::WatchTurn(grpc::ServerContext*, const v1::WatchTurnRequest*,
                                   grpc::ServerWriter<v1::WatchTurnResponse>* writer) {
    for (const v1::WatchTurnResponse& message : turns) writer->Write(message);
    return refused(v1::ERROR_REASON_SHUTTING_DOWN, v1::DELIVERY_NOT_SENT, grpc::UNAVAILABLE);
}

grpc::Status FakeBroker::OpenSession(
    grpc::ServerContext*, grpc::ServerReaderWriter<v1::OpenSessionResponse, v1::OpenSessionRequest>* stream) {
    return session(*stream);
}

void FakeBroker::note(const grpc::ServerContext& context) {
    std::multimap<std::string, std::string> sent;
    for (const auto& [key, value] : context.client_metadata()) {
        sent.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
    }
    const std::lock_guard lock(mutex_);
    metadata_.push_back(std::move(sent));
}

grpc::Status detailed(grpc::StatusCode code, const std::vector<std::pair<std::string, std::string>>& details) {
    v1::StatusDetails status;
    status.set_code(code);
    for (const auto& [type, value] : details) {
        google::protobuf::Any& detail = *status.add_details();
        detail.set_type_url("type.googleapis.com/" + type);
        detail.set_value(value);
    }
    return grpc::Status(code, "refused", status.SerializeAsString());
}

grpc::Status refused(v1::ErrorReason reason, v1::Delivery delivery, grpc::StatusCode code) {
    v1::Failure failure;
    failure.set_reason(reason);
    failure.set_delivery(delivery);
    failure.set_code(code);
    return detailed(code, {{"cardbroker.v1.Failure", failure.SerializeAsString()}});
}

}  // namespace cardbroker::tests
