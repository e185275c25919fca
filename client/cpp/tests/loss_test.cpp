// What becomes of calls when the broker goes or falls silent, repeats among it, and what is sent with every call.
#include <doctest/doctest.h>

#include <fstream>
#include <thread>

#include "broker.h"
#include "fake_broker.h"

namespace cardbroker::tests {

TEST_CASE("without a broker nothing is sent, and the next call finds one that came back") {
    Broker broker;
    const Client client = broker.client();
    for (int round = 0; round < 5; ++round) {
        broker.kill();
        CHECK_THROWS_AS(client.transmit(reader, commands({read_record})), NotRunning);
        CHECK_THROWS_AS(client.readers(), NotRunning);
        CHECK_THROWS_AS(client.open_session(reader), NotRunning);
        broker.start();
        CHECK(client.transmit(reader, commands({read_record})).results.size() == 1);
        // Now with a restart that the client had no occasion to notice.
        broker.kill();
        broker.start();
        CHECK(client.transmit(reader, commands({read_record})).results.size() == 1);
    }
}

TEST_CASE("a connection that is lost in mid-command leaves the fate unknown") {
    Broker broker;
    const Client client = broker.client();
    std::thread crash([&] {
        TransmitOptions at_once;
        at_once.wait_timeout = 0s;
        // Until the slow unit has the card.
        const Client other = broker.client();
        until([&] {
            return refusal([&] {
                       other.transmit(reader, commands({read_record}), at_once);
                       throw Error("free", Delivery::Unknown);
                   }) == "QUEUE_TIMEOUT not_sent";
        });
        broker.kill();
    });
    CHECK_THROWS_AS(client.transmit(reader, commands({slow(60'000)})), ConnectionLost);
    crash.join();
}

TEST_CASE("a broken session tells the calls on their way that their fate is unknown") {
    Broker broker;
    Session session = broker.client().open_session(reader);
    Pending running = session.begin(commands({slow(60'000)}));
    broker.kill();
    CHECK(refusal([&] { running.get(); }) == "no reason unknown");
    CHECK(refusal([&] { session.transmit(commands({read_record})); }) == "no reason not_sent");
}

TEST_CASE("a repeatable unit is repeated under one id until an outcome is told") {
    FakeBroker broker;
    broker.answer = [](std::size_t number, v1::TransmitResponse& response, grpc::ServerContext&) {
        if (number < 2) return grpc::Status(grpc::UNAVAILABLE, "lost");
        response.add_results()->set_status_word(0x9000);
        response.set_replayed(true);
        return grpc::Status::OK;
    };
    TransmitOptions options;
    options.repeatable = true;
    CHECK(broker.client().transmit(reader, commands({read_record}), options).replayed);
    const auto requests = broker.requests();
    REQUIRE(requests.size() == 3);
    CHECK(requests[0].request_id().size() == 16);
    CHECK(requests[1].request_id() == requests[0].request_id());
    CHECK(requests[2].request_id() == requests[0].request_id());
    broker.client().transmit(reader, commands({read_record}), options);
    CHECK(broker.requests().back().request_id() != requests[0].request_id());
}

TEST_CASE("a repeat that is told the unit's stop hands on its answers") {
    FakeBroker broker;
    broker.answer = [](std::size_t number, v1::TransmitResponse& response, grpc::ServerContext&) {
        if (number == 0) return grpc::Status(grpc::UNAVAILABLE, "lost");
        response.add_results()->set_status_word(0x6982);
        response.mutable_stopped()->set_index(1);
        response.mutable_stopped()->set_reason(v1::ERROR_REASON_STATUS_WORD);
        response.mutable_stopped()->set_delivery(v1::DELIVERY_NOT_SENT);
        return grpc::Status::OK;
    };
    TransmitOptions options;
    options.repeatable = true;
    CHECK_THROWS_AS(broker.client().transmit(reader, commands({read_record, read_record}), options), Stopped);
}

TEST_CASE("a repeat that was not sent does not hide that the first attempt may have been") {
    FakeBroker broker;
    broker.answer = [](std::size_t number, v1::TransmitResponse&, grpc::ServerContext& context) {
        if (number == 0) return grpc::Status(grpc::UNAVAILABLE, "lost");
        return refused(context, grpc::FAILED_PRECONDITION, "NO_CARD", "not_sent");
    };
    TransmitOptions options;
    options.repeatable = true;
    CHECK_THROWS_AS(broker.client().transmit(reader, commands({read_record}), options), ConnectionLost);
    CHECK(broker.requests().size() == 2);
}

TEST_CASE("nothing is repeated that was not asked for, nor more often than three times") {
    FakeBroker broker;
    broker.answer = [](std::size_t, v1::TransmitResponse&, grpc::ServerContext&) {
        return grpc::Status(grpc::UNAVAILABLE, "lost");
    };
    CHECK_THROWS_AS(broker.client().transmit(reader, commands({read_record})), ConnectionLost);
    CHECK(broker.requests().size() == 1);
    TransmitOptions options;
    options.repeatable = true;
    CHECK_THROWS_AS(broker.client().transmit(reader, commands({read_record}), options), ConnectionLost);
    CHECK(broker.requests().size() == 1 + 4);
}

TEST_CASE("a reason that is newer than the client keeps its delivery, and a bare status has an unknown fate") {
    FakeBroker broker;
    broker.answer = [](std::size_t number, v1::TransmitResponse&, grpc::ServerContext& context) {
        switch (number) {
            case 0:
                return refused(context, grpc::ABORTED, "CARD_ON_FIRE", "not_sent");
            case 1:
                return refused(context, grpc::PERMISSION_DENIED, "DENIED", "not_sent");
            case 2:
                return grpc::Status(grpc::CANCELLED, "");
            case 3:
                return grpc::Status(grpc::DEADLINE_EXCEEDED, "");
            default:
                return grpc::Status(grpc::UNIMPLEMENTED, "");
        }
    };
    const Client client = broker.client();
    const auto fails = [&] { return refusal([&] { client.transmit(reader, commands({read_record})); }); };
    CHECK(fails() == "no reason not_sent");
    CHECK(fails() == "DENIED not_sent");
    CHECK(fails() == "no reason unknown");
    CHECK(fails() == "no reason unknown");
    CHECK(fails() == "no reason not_sent");
}

TEST_CASE("a silent broker cannot hold a call beyond its deadline") {
    FakeBroker broker;
    broker.answer = [](std::size_t, v1::TransmitResponse&, grpc::ServerContext& context) {
        until([&] { return context.IsCancelled(); });
        return grpc::Status::OK;
    };
    TransmitOptions options;
    options.deadline = 200ms;
    CHECK(refusal([&] { broker.client().transmit(reader, commands({read_record}), options); }) == "no reason unknown");
    const auto wait = broker.requests().at(0).wait_timeout();
    CHECK(wait.seconds() == 0);
    CHECK(wait.nanos() == 150'000'000);
}

TEST_CASE("the token is sent over TCP with every call, and read anew for each") {
    const Folder folder;
    const std::string file = folder.path() / "token";
    FakeBroker broker;
    CHECK(refusal([&] { broker.client(file); }) == "no reason not_sent");
    std::ofstream(file) << " first\n";
    const Client client = broker.client(file);
    client.readers();
    std::ofstream(file) << "second";
    client.readers();
    broker.client().readers();
    CHECK(broker.metadata("authorization") == std::vector<std::string>{"Bearer first", "Bearer second", "none"});

    for (const char* text : {"", " \n", "a\nb", "\xC3\xBC"}) {
        std::ofstream(file) << text;
        CHECK(refusal([&] { client.readers(); }) == "no reason not_sent");
    }
    std::filesystem::remove(file);
    try {
        client.readers();
        FAIL("it did not fail");
    } catch (const Error& error) {
        CHECK(std::string(error.what()).find(file) != std::string::npos);
        CHECK(error.is_permanent());
    }
}

TEST_CASE("the token file may come from the environment, and counts for nothing on a Unix socket") {
    const Broker broker;
    setenv("CARDBROKER_TOKEN_FILE", "/nonexistent", 1);
    CHECK(ConnectOptions::from_environment().token_file == "/nonexistent");
    CHECK_NOTHROW(Client(Endpoint(broker.endpoint())).readers());
    unsetenv("CARDBROKER_TOKEN_FILE");
}

}  // namespace cardbroker::tests
