// Sessions with a broker that ends them early, and the heartbeats of sessions.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "broker.h"
#include "connection.h"
#include "conversation.h"
#include "fake_broker.h"

namespace cardbroker::tests {

namespace {

using Stream = grpc::ServerReaderWriter<v1::OpenSessionResponse, v1::OpenSessionRequest>;

void open(Stream& stream) {
    v1::OpenSessionRequest request;
    stream.Read(&request);
    v1::OpenSessionResponse response;
    response.mutable_heartbeat();
    stream.Write(response);
    response.mutable_opened();
    stream.Write(response);
}

/// A broker that opens sessions, reads two messages, and ends the stream with this status.
struct EndingBroker : FakeBroker {
    explicit EndingBroker(grpc::Status end) {
        session = [end](Stream& stream) {
            open(stream);
            v1::OpenSessionRequest request;
            stream.Read(&request);
            v1::OpenSessionResponse response;
            response.mutable_transmitted()->set_id(request.transmit().id());
            response.mutable_transmitted()->add_results()->mutable_apdu()->set_status_word(0x9000);
            stream.Read(&request);
            stream.Write(response);
            return end;
        };
    }
};

}  // namespace

TEST_CASE("unanswered messages get the delivery of the session's end") {
    const auto revoked = refused(v1::ERROR_REASON_LEASE_REVOKED, v1::DELIVERY_NOT_SENT, grpc::ABORTED);
    const std::vector<std::pair<grpc::Status, std::string>> ends{{revoked, "LEASE_REVOKED"},
                                                                 {grpc::Status(grpc::UNAVAILABLE, "lost"), "no reason"},
                                                                 {grpc::Status::OK, "no reason"}};
    for (const auto& [end, reason] : ends) {
        EndingBroker broker(end);
        Session session = broker.client().open_session(reader);
        Pending answered = session.begin(commands({read_record}));
        Pending unanswered = session.begin(commands({read_record}));
        CHECK(texts(answered.get()) == std::vector<std::string>{"9000"});
        const std::string fate = reason == "no reason" ? " UNKNOWN" : " NOT_SENT";
        CHECK(refusal([&] { unanswered.get(); }) == reason + fate);
        until([&] { return !session.is_open(); });
        CHECK(refusal([&] { session.transmit(commands({read_record})); }) == reason + " NOT_SENT");
        CHECK(refusal([&] { session.reset(); }) == reason + " NOT_SENT");
    }
}

TEST_CASE("a failure in a session keeps all its details") {
    FakeBroker broker;
    broker.session = [](Stream& stream) {
        open(stream);
        v1::OpenSessionRequest request;
        stream.Read(&request);
        v1::OpenSessionResponse response;
        response.mutable_failed()->set_id(request.transmit().id());
        v1::Failure& failure = *response.mutable_failed()->mutable_failure();
        failure.set_reason(v1::ERROR_REASON_DENIED);
        failure.set_delivery(v1::DELIVERY_NOT_SENT);
        failure.set_code(grpc::PERMISSION_DENIED);
        failure.set_rule("no strangers");
        stream.Write(response);
        stream.Read(&request);
        response.mutable_failed()->set_id(request.transmit().id());
        failure.clear_code();
        stream.Write(response);
        stream.Read(&request);
        return grpc::Status::OK;
    };
    Session session = broker.client().open_session(reader);
    try {
        session.transmit(commands({read_record}));
        FAIL("the call did not fail");
    } catch (const Error& error) {
        CHECK(error.failure().rule == "no strangers");
        CHECK(error.is_permanent());
    }
    try {
        session.transmit(commands({read_record}));
        FAIL("the call did not fail");
    } catch (const Error& error) {
        CHECK(error.code() == StatusCode::Unknown);
    }
    CHECK(session.is_open());
}

TEST_CASE("a silent session sends heartbeats, also during the opening") {
    FakeBroker broker;
    std::atomic<int> heartbeats{0};
    broker.session = [&](Stream& stream) {
        v1::OpenSessionRequest request;
        while (stream.Read(&request)) heartbeats += request.has_heartbeat() ? 1 : 0;
        return grpc::Status::OK;
    };
    Connection connection(broker.client().endpoint(), ConnectOptions());
    v1::SessionOpen open;
    open.set_reader(reader);
    Conversation conversation(connection, open, 20ms);
    until([&] { return heartbeats >= 3; });
    conversation.end();
}

TEST_CASE("a silent broker loses sessions, also during the opening") {
    for (const bool opens : {true, false}) {
        FakeBroker broker;
        broker.session = [&](Stream& stream) {
            v1::OpenSessionRequest request;
            if (opens) open(stream);
            while (stream.Read(&request)) {
            }
            return grpc::Status::OK;
        };
        Connection connection(broker.client().endpoint(), ConnectOptions());
        v1::SessionOpen open;
        open.set_reader(reader);
        Conversation conversation(connection, open, 50ms, 500ms);
        const auto start = std::chrono::steady_clock::now();
        if (opens) {
            conversation.await_opened(longest, nullptr);
            v1::OpenSessionRequest message;
            message.mutable_reset();
            const Reply reply = conversation.send(message, Restart::Automatic).get();
            CHECK_THROWS_AS(std::rethrow_exception(reply.failure), ConnectionLost);
            CHECK(refusal([&] { std::rethrow_exception(reply.failure); }) == "no reason UNKNOWN");
            CHECK(!conversation.is_open());
        } else {
            CHECK(refusal([&] { conversation.await_opened(longest, nullptr); }) == "no reason NOT_SENT");
        }
        CHECK(std::chrono::steady_clock::now() - start < longest / 2);
    }
}

TEST_CASE("a silent broker does not block the close") {
    FakeBroker broker;
    broker.session = [](Stream& stream) {
        open(stream);
        v1::OpenSessionRequest request;
        while (stream.Read(&request)) {
        }
        std::this_thread::sleep_for(2s);
        return grpc::Status::OK;
    };
    Connection connection(broker.client().endpoint(), ConnectOptions());
    v1::SessionOpen open;
    open.set_reader(reader);
    Conversation conversation(connection, open, 30s, 300ms);
    conversation.await_opened(longest, nullptr);
    CHECK(refusal([&] { conversation.close(); }) == "no reason NOT_SENT");
}

}  // namespace cardbroker::tests
