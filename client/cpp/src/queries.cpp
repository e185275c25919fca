// Calls without commands: the broker's description of itself and its readers.
#include "queries.h"

#include <cardbroker/error.h>

#include <algorithm>
#include <vector>

#include "connection.h"
#include "errors.h"

namespace cardbroker {

namespace {

/// The longest time for a query: the broker answers from memory, so a slower one is stuck.
constexpr std::chrono::seconds query_timeout(10);

template <typename Request, typename Response>
Response ask(Connection& connection,
             grpc::Status (v1::CardBrokerService::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                          Response*),
             const Request& request, EndTime end) {
    using Clock = EndTime::clock;
    const Line line = connection.connected(end);
    Stub stub(line.channel);
    const auto left = std::min<EndTime::duration>(query_timeout, end - Clock::now());
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + left);
    connection.sign(context, line);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) throw query_failure(status, context);
    return response;
}

constexpr std::string_view collection = "readers/";

bool is_id(const std::string& text) {
    return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == text.npos;
}

std::string listed(const v1::ListReadersResponse& readers) {
    std::string text;
    for (const v1::Reader& reader : readers.readers()) {
        text += (text.empty() ? "" : ", ") + reader.name() + " (\"" + reader.display_name() + "\")";
    }
    return text.empty() ? "there are no readers" : "there are " + text;
}

}  // namespace

v1::GetBrokerResponse get_broker(Connection& connection, EndTime end) {
    return ask(connection, &v1::CardBrokerService::StubInterface::GetBroker, v1::GetBrokerRequest(), end);
}

v1::ListReadersResponse list_readers(Connection& connection, EndTime end) {
    return ask(connection, &v1::CardBrokerService::StubInterface::ListReaders, v1::ListReadersRequest(), end);
}

v1::Reader get_reader(Connection& connection, const std::string& name, EndTime end) {
    v1::GetReaderRequest request;
    request.set_name(name);
    return ask(connection, &v1::CardBrokerService::StubInterface::GetReader, request, end).reader();
}

std::string resolve(Connection& connection, const ReaderName& reader, EndTime end) {
    const std::string& text = reader.text();
    if (text.compare(0, collection.size(), collection) == 0) return text;
    if (is_id(text)) return std::string(collection) + text;
    const v1::ListReadersResponse readers = list_readers(connection, end);
    std::vector<std::string> names;
    for (const v1::Reader& known : readers.readers()) {
        if (known.display_name() == text) names.push_back(known.name());
    }
    if (names.size() == 1) return names.front();
    const std::string count = names.empty() ? "no reader has" : "several readers have";
    throw InvalidRequest("reader", count + " the display name \"" + text + "\": " + listed(readers));
}

}  // namespace cardbroker
