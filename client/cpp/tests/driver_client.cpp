// The parts of the driver for the C++ client: overlapping calls of a session, endpoints, and the search for a broker.
#include "driver_client.h"

#include <functional>
#include <memory>
#include <stdexcept>

#include "driver_answers.h"
#include "driver_order.h"
#include "driver_places.h"

namespace cardbroker::driver {

namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

/// Converts the outcome of one command.
struct Outcome {
    v1::CommandResult& wire;

    static std::string text(const ApduBytes& bytes) { return std::string(bytes.begin(), bytes.end()); }
    void operator()(std::monostate) const {}
    void operator()(const ApduResult& result) const {
        wire.mutable_apdu()->set_data(text(result.data));
        wire.mutable_apdu()->set_status_word(result.status_word);
        wire.mutable_apdu()->set_status_word_source(static_cast<v1::StatusWordSource>(result.status_word_source));
        wire.mutable_apdu()->set_get_response_count(result.get_response_count);
    }
    void operator()(const ControlResult& result) const { wire.mutable_control()->set_data(text(result.data)); }
    void operator()(const AttributeResult& result) const { wire.mutable_attribute()->set_value(text(result.value)); }
    void operator()(const PinPadResult& result) const { wire.mutable_pin_pad()->set_status_word(result.status_word); }
};

/// Begins the commands or the reset of a session's message; returns a function that waits for the answer.
std::function<std::string()> begin(Session& session, const Order& order) {
    if (order.has("reset")) {
        const auto reset = static_cast<CardReset>(order.message<v1::SessionReset>("reset").reset());
        auto pending = std::make_shared<PendingReset>(session.begin_reset(reset, order.restart()));
        return [pending] { return json(reset_done(pending->get())); };
    }
    const auto request = order.message<v1::SessionTransmit>("transmit");
    auto pending = std::make_shared<Pending>(session.begin(commands(request.commands()), order.restart()));
    return [pending] { return json(in_session(message(pending->get()))); };
}

std::string pipeline(const Order& order, Session& session) {
    std::vector<std::function<std::string()>> pending;
    for (const Value& item : order.at("messages").list_value().values()) {
        try {
            pending.push_back(begin(session, Order(item.struct_value())));
        } catch (const Error&) {
            pending.push_back([error = std::current_exception()]() -> std::string { std::rethrow_exception(error); });
        }
    }
    std::string answers;
    for (const auto& wait : pending) answers += (answers.empty() ? "" : ", ") + answer(wait, true);
    return "{\"answers\": [" + answers + "]}";
}

std::string parse_endpoint(const Order& order) {
    Struct result;
    (*result.mutable_fields())["endpoint"].set_string_value(Endpoint(order.text("text")).to_string());
    return json(result);
}

std::string search(const Order& order) {
    const Struct& environment = order.at("environment").struct_value();
    const auto runtime = environment.fields().find("XDG_RUNTIME_DIR");
    return json(find(static_cast<unsigned>(order.number("uid")),
                     runtime == environment.fields().end() ? "" : runtime->second.string_value(),
                     order.at("found").struct_value()));
}

}  // namespace

Client connect(const std::string& endpoint, ConnectOptions options) {
    return Client(Endpoint(endpoint), std::move(options));
}

void set_outcome(const CommandResult& result, v1::CommandResult& wire) { std::visit(Outcome{wire}, result.outcome); }

std::string run_own(const std::string& operation, const Order& order, Session* session) {
    if (operation == "session_pipeline" && session) return pipeline(order, *session);
    if (operation == "parse_endpoint") return parse_endpoint(order);
    if (operation == "find") return search(order);
    throw std::invalid_argument("no such operation now: " + operation);
}

}  // namespace cardbroker::driver
