// The connection to the broker, and the calls that need no more than it.
#include <cardbroker/client.h>

#include <utility>

#include "connection.h"
#include "convert.h"
#include "failure.h"

namespace cardbroker {

namespace {

/// A list of readers is made from memory: longer means that the broker is stuck.
constexpr std::chrono::seconds query_timeout(10);

}  // namespace

Client::Client() : Client(Endpoint::from_environment()) {}

Client::Client(Endpoint endpoint, ConnectOptions options)
    : connection_(std::make_shared<Connection>(std::move(endpoint), std::move(options))) {
    connection_->connected();
}

const Endpoint& Client::endpoint() const noexcept { return connection_->endpoint(); }

std::vector<Reader> Client::readers() const {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + query_timeout);
    connection_->sign(context);
    v1::ListReadersResponse response;
    const grpc::Status status = Stub(connection_->connected()).ListReaders(&context, {}, &response);
    if (!status.ok()) throw query_failure(status, context);
    std::vector<Reader> readers;
    for (const v1::Reader& reader : response.readers()) readers.push_back(from_wire(reader));
    return readers;
}

}  // namespace cardbroker
