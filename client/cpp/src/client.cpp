// The calls of a client without commands.
#include <cardbroker/client.h>

#include <utility>

#include "connection.h"
#include "convert.h"
#include "queries.h"

namespace cardbroker {

Client::Client() : Client(find()) {}

Client Client::find(ConnectOptions options) {
    return Client(std::make_shared<Connection>(Endpoint::from_environment(), std::move(options)));
}

Client::Client(Endpoint endpoint, ConnectOptions options)
    : Client(std::make_shared<Connection>(std::move(endpoint), std::move(options))) {}

Client::Client(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {
    connection_->connected();
}

const Endpoint& Client::endpoint() const noexcept { return connection_->endpoint(); }

BrokerInfo Client::broker() const { return from_wire(get_broker(*connection_)); }

std::vector<Reader> Client::readers() const {
    const v1::ListReadersResponse listed = list_readers(*connection_);
    std::vector<Reader> readers;
    for (const v1::Reader& reader : listed.readers()) readers.push_back(from_wire(reader));
    return readers;
}

Reader Client::reader(const ReaderName& reader) const {
    return from_wire(get_reader(*connection_, resolve(*connection_, reader)));
}

}  // namespace cardbroker
