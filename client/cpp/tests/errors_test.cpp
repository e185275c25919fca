// Errors from the broker's details, from the standard details alone, from trailers, and without any of them.
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
    FAIL("the call did not fail");
    return Error(Failure());
}

/// Encodes a short length-delimited field as protobuf does.
std::string field(char number, const std::string& value) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(value.size()) + value;
}

}  // namespace

TEST_CASE("standard details replace a missing Failure") {
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

TEST_CASE("an unimplemented method points to another server or version") {
    const Error error = failing([](grpc::ServerContext&) { return grpc::Status(grpc::UNIMPLEMENTED, "no"); });
    CHECK(std::string(error.what()) == "the server at the endpoint is not cardbrokerd, or an older version");
}

TEST_CASE("standard details contain the retry pause and field violations") {
    // A Duration of 2.5 s: field 1 is 2, field 2 is 500,000,000.
    const std::string delay("\x08\x02\x10\x80\xCA\xB5\xEE\x01", 8);
    const auto violation = [](const std::string& name, const std::string& rule) {
        return field(1, field(1, name) + field(2, rule));
    };
    const std::vector<std::pair<std::string, std::string>> generic{
        {"google.rpc.RetryInfo", field(1, delay)},
        {"google.rpc.BadRequest", violation("commands[0]", "is bad") + violation("reader", "is worse")}};
    const Error error = failing([&](grpc::ServerContext&) {
        auto details = generic;
        details.emplace_back("google.rpc.ErrorInfo", field(1, "QUEUE_FULL") + field(2, "cardbroker"));
        return detailed(grpc::RESOURCE_EXHAUSTED, details);
    });
    CHECK(error.reason() == ErrorReason::QueueFull);
    CHECK(error.retry_after() == 2500ms);
    const auto& violations = error.failure().field_violations;
    REQUIRE(violations.size() == 2);
    CHECK(violations[0].field == "commands[0]");
    CHECK(violations[1].description == "is worse");

    const Error trailed = failing([&](grpc::ServerContext& context) {
        context.AddTrailingMetadata("cardbroker-reason", "QUEUE_FULL");
        context.AddTrailingMetadata("cardbroker-delivery", "not_sent");
        return detailed(grpc::RESOURCE_EXHAUSTED, generic);
    });
    CHECK(trailed.delivery() == Delivery::NotSent);
    CHECK(trailed.retry_after() == 2500ms);

    // These details may come from any server.
    const Error foreign = failing([&](grpc::ServerContext&) { return detailed(grpc::UNAVAILABLE, generic); });
    CHECK(foreign.delivery() == Delivery::Unknown);
    CHECK(!foreign.retry_after());
}

TEST_CASE("a number of tries may be absent") {
    for (const std::optional<int> tries : {std::optional<int>(), std::optional<int>(0), std::optional<int>(2)}) {
        v1::Failure failure;
        failure.set_reason(v1::ERROR_REASON_PIN_KNOWN_WRONG);
        if (tries) failure.set_tries_left(*tries);
        const Error error = failing([&](grpc::ServerContext&) {
            return detailed(grpc::FAILED_PRECONDITION, {{"cardbroker.v1.Failure", failure.SerializeAsString()}});
        });
        CHECK(error.reason() == ErrorReason::PinKnownWrong);
        CHECK(error.tries_left() == tries);
    }
}

TEST_CASE("a status word above 16 bits is a failure") {
    for (const std::int32_t word : {0x19000, -1, INT32_MIN}) {
        for (const bool is_pin_pad : {false, true}) {
            FakeBroker broker;
            broker.answer = [&](std::size_t, v1::TransmitResponse& response, grpc::ServerContext&) {
                v1::CommandResult& result = *response.add_results();
                if (is_pin_pad) result.mutable_pin_pad()->set_status_word(word);
                if (!is_pin_pad) result.mutable_apdu()->set_status_word(word);
                return grpc::Status::OK;
            };
            try {
                broker.client().transmit(reader, commands({read_record}));
                FAIL("the call did not fail");
            } catch (const Error& error) {
                CHECK(error.code() == StatusCode::Internal);
                CHECK(error.delivery() == Delivery::Unknown);
            }
        }
    }
}

TEST_CASE("trailers replace missing details, with unknown reasons by name") {
    const Error error = failing([](grpc::ServerContext& context) {
        context.AddTrailingMetadata("cardbroker-reason", "CARD_ON_FIRE");
        context.AddTrailingMetadata("cardbroker-delivery", "executed");
        return grpc::Status(grpc::DATA_LOSS, "refused");
    });
    CHECK(error.reason() == ErrorReason::Unspecified);
    CHECK(error.failure().reason_name == "CARD_ON_FIRE");
    CHECK(error.delivery() == Delivery::Executed);
}

TEST_CASE("malformed details do not count as the broker's") {
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
