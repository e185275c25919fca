// Where an error's parts come from: the broker's own words, what is left of them, and what is made of none.
#include <doctest/doctest.h>

#include "broker.h"
#include "fake_broker.h"

namespace cardbroker::tests {

namespace {

Error failing(const std::function<grpc::Status(grpc::ServerContext&)>& status) {
    FakeBroker broker;
    broker.answer = [&](std::size_t, v1::TransmitResponse&, grpc::ServerContext& context) { return status(context); };
    try {
        broker.client().transmit(reader, commands({read_record}));
    } catch (const Error& error) {
        return error;
    }
    FAIL("it did not fail");
    return Error(Failure());
}

/// A field of bytes, as protobuf writes it; short ones only.
std::string field(char number, const std::string& value) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(value.size()) + value;
}

}  // namespace

TEST_CASE("without a Failure the details for generic clients say why") {
    const auto entry = [](const std::string& key, const std::string& value) {
        return field(3, field(1, key) + field(2, value));
    };
    const std::string info = field(1, "DENIED") + field(2, "cardbroker") + entry("delivery", "not_sent") +
                             entry("rule", "no strangers") + entry("reader", reader);
    const Error error = failing([&](grpc::ServerContext&) {
        return detailed(grpc::PERMISSION_DENIED, {{"google.rpc.ErrorInfo", info}, {"other", "\xFF"}});
    });
    CHECK(error.reason() == ErrorReason::Denied);
    CHECK(error.delivery() == Delivery::NotSent);
    CHECK(error.code() == StatusCode::PermissionDenied);
    CHECK(error.is_permanent());
    CHECK(error.failure().rule == "no strangers");
    CHECK(error.failure().reader == reader);
    CHECK(std::string(error.what()) == "refused");
}

TEST_CASE("without details the trailers say why, and a reason that is not known keeps its name") {
    const Error error = failing([](grpc::ServerContext& context) {
        context.AddTrailingMetadata("cardbroker-reason", "CARD_ON_FIRE");
        context.AddTrailingMetadata("cardbroker-delivery", "executed");
        return grpc::Status(grpc::DATA_LOSS, "refused");
    });
    CHECK(error.reason() == ErrorReason::Unspecified);
    CHECK(error.failure().reason_name == "CARD_ON_FIRE");
    CHECK(error.delivery() == Delivery::Executed);
}

TEST_CASE("details that are no details are no word of the broker's") {
    for (const std::string details : {"\x0A", "garbage", "\xFF\xFF\xFF"}) {
        const Error error =
            failing([&](grpc::ServerContext&) { return grpc::Status(grpc::ABORTED, "refused", details); });
        CHECK(error.reason() == ErrorReason::Unspecified);
        CHECK(error.delivery() == Delivery::Unknown);
    }
    const Error error = failing([](grpc::ServerContext&) {
        return detailed(grpc::ABORTED, {{"cardbroker.v1.Failure", "\x0A"}, {"google.rpc.ErrorInfo", "\x0A\x7F"}});
    });
    CHECK(error.delivery() == Delivery::Unknown);
}

}  // namespace cardbroker::tests
