// Calls with a lost, late or silent broker, their repeats, and the metadata of every call.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "broker.h"
#include "fake_broker.h"

namespace cardbroker::tests {

TEST_CASE("without a broker calls are NotSent until it returns") {
    Broker broker;
    const Client client = broker.client();
    for (int round = 0; round < 5; ++round) {
        broker.kill();
        CHECK_THROWS_AS(client.transmit(reader, commands({read_record})), NotRunning);
        CHECK_THROWS_AS(client.readers(), NotRunning);
        CHECK_THROWS_AS(client.open_session(reader), NotRunning);
        broker.start();
        CHECK(client.transmit(reader, commands({read_record})).results.size() == 1);
        // Now with a restart that the client could not notice.
        broker.kill();
        broker.start();
        CHECK(client.transmit(reader, commands({read_record})).results.size() == 1);
    }
}

TEST_CASE("a connection lost during a command makes it UNKNOWN") {
    Broker broker;
    const Client client = broker.client();
    std::thread crash([&] {
        TransmitOptions at_once;
        at_once.wait_timeout = 0s;
        // Waits until the slow unit has the card.
        const Client other = broker.client();
        until([&] {
            return refusal([&] {
                       other.transmit(reader, commands({read_record}), at_once);
                       throw Error(Failure());
                   }) == "QUEUE_TIMEOUT NOT_SENT";
        });
        broker.kill();
    });
    CHECK_THROWS_AS(client.transmit(reader, commands({slow(60'000)})), ConnectionLost);
    crash.join();
}

TEST_CASE("a broken session makes sent calls UNKNOWN") {
    Broker broker;
    Session session = broker.client().open_session(reader);
    Pending running = session.begin(commands({slow(60'000)}));
    broker.kill();
    CHECK(refusal([&] { running.get(); }) == "no reason UNKNOWN");
    CHECK(refusal([&] { session.transmit(commands({read_record})); }) == "no reason NOT_SENT");
}

namespace {

/// A broker with a card in its reader that drops the first connections.
struct LosingBroker : FakeBroker {
    explicit LosingBroker(std::size_t losses, grpc::StatusCode code = grpc::UNAVAILABLE) {
        v1::Reader& added = readers.emplace_back();
        added.set_name(reader);
        added.set_insertion_id("the first");
        answer = [losses, code](std::size_t number, v1::TransmitResponse& response, grpc::ServerContext&) {
            if (number < losses) return grpc::Status(code, "lost");
            response.add_results()->mutable_apdu()->set_status_word(0x9000);
            return grpc::Status::OK;
        };
    }
};

TransmitOptions repeating() {
    TransmitOptions options;
    options.repeatable = true;
    return options;
}

}  // namespace

TEST_CASE("a unit is repeated after every end without broker details") {
    for (const auto code : {grpc::UNAVAILABLE, grpc::UNKNOWN, grpc::INTERNAL, grpc::CANCELLED}) {
        CAPTURE(code);
        LosingBroker broker(1, code);
        CHECK_NOTHROW(broker.client().transmit(reader, commands({read_record}), repeating()));
        CHECK(broker.requests().size() == 2);
    }
    LosingBroker late(1, grpc::DEADLINE_EXCEEDED);
    CHECK_THROWS_AS(late.client().transmit(reader, commands({read_record}), repeating()), Error);
    CHECK(late.requests().size() == 1);
}

TEST_CASE("repeats end at half the lifetime of outcomes") {
    LosingBroker broker(100);
    // The pauses before the repeats are 50 ms, 100 ms and 200 ms at least.
    broker.outcome_lifetime = 0s;
    CHECK_THROWS_AS(broker.client().transmit(reader, commands({read_record}), repeating()), ConnectionLost);
    CHECK(broker.requests().size() == 1);
    broker.outcome_lifetime = 2s;
    broker.answer = [](std::size_t, v1::TransmitResponse&, grpc::ServerContext&) {
        std::this_thread::sleep_for(600ms);
        return grpc::Status(grpc::UNAVAILABLE, "lost");
    };
    CHECK(refusal([&] { broker.client().transmit(reader, commands({read_record}), repeating()); }) ==
          "no reason UNKNOWN");
    CHECK(broker.requests().size() == 1 + 2);
}

TEST_CASE("queries before a repeatable unit count against its deadline") {
    LosingBroker broker(0);
    broker.before_reader = [](grpc::ServerContext& context) { until([&] { return context.IsCancelled(); }); };
    TransmitOptions options = repeating();
    options.deadline = 300ms;
    const auto start = std::chrono::steady_clock::now();
    CHECK(refusal([&] { broker.client().transmit(reader, commands({read_record}), options); }) == "no reason NOT_SENT");
    CHECK(std::chrono::steady_clock::now() - start < 30s);
    CHECK(broker.requests().empty());
}

TEST_CASE("without connect timeout a running broker is found") {
    Broker broker;
    ConnectOptions options;
    for (const auto timeout : {0ms, 1ms, -1ms, std::chrono::milliseconds::max()}) {
        options.connect_timeout = timeout;
        CHECK(Client(Endpoint(broker.endpoint()), options).readers().size() == 2);
    }
    broker.kill();
    options.connect_timeout = 0ms;
    CHECK_THROWS_AS(Client(Endpoint(broker.endpoint()), options), NotRunning);
}

TEST_CASE("a unit without a known card is not repeated") {
    LosingBroker broker(1);
    broker.readers[0].clear_insertion_id();
    CHECK_THROWS_AS(broker.client().transmit(reader, commands({read_record}), repeating()), ConnectionLost);
    CHECK(broker.requests().size() == 1);
}

TEST_CASE("a repeat that stops keeps its answers") {
    LosingBroker broker(1);
    broker.answer = [](std::size_t number, v1::TransmitResponse& response, grpc::ServerContext&) {
        if (number == 0) return grpc::Status(grpc::UNAVAILABLE, "lost");
        response.add_results()->mutable_apdu()->set_status_word(0x6982);
        response.mutable_stopped()->set_index(1);
        response.mutable_stopped()->mutable_failure()->set_reason(v1::ERROR_REASON_STATUS_WORD);
        response.mutable_stopped()->mutable_failure()->set_delivery(v1::DELIVERY_NOT_SENT);
        return grpc::Status::OK;
    };
    CHECK_THROWS_AS(broker.client().transmit(reader, commands({read_record, read_record}), repeating()), Stopped);
}

TEST_CASE("a call waits for a broker until its connect timeout") {
    Broker broker;
    broker.kill();
    ConnectOptions options;
    options.connect_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(longest);
    auto early = std::async(std::launch::async, [&] { return Client(Endpoint(broker.endpoint()), options).readers(); });
    std::this_thread::sleep_for(300ms);
    // In this thread, because the broker ends with the thread that started it.
    broker.start();
    CHECK(early.get().size() == 2);
    broker.kill();
    const auto start = std::chrono::steady_clock::now();
    try {
        broker.client();
        FAIL("a broker answers");
    } catch (const NotRunning& error) {
        CHECK(std::string(error.what()).find(broker.endpoint()) != std::string::npos);
    }
    CHECK(std::chrono::steady_clock::now() - start >= 200ms);
}

TEST_CASE("a silent broker cannot hold a call beyond its deadline") {
    FakeBroker broker;
    broker.answer = [](std::size_t, v1::TransmitResponse&, grpc::ServerContext& context) {
        until([&] { return context.IsCancelled(); });
        return grpc::Status::OK;
    };
    TransmitOptions options;
    options.deadline = 200ms;
    CHECK(refusal([&] { broker.client().transmit(reader, commands({read_record}), options); }) == "no reason UNKNOWN");
    const auto wait = broker.requests().at(0).turn().wait_timeout();
    CHECK(wait.seconds() == 0);
    CHECK(wait.nanos() > 0);
    CHECK(wait.nanos() <= 150'000'000);
}

namespace {

/// Makes a file with access for its owner only.
void write_private(const std::string& file, const std::string& text) {
    std::ofstream(file) << text;
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

}  // namespace

TEST_CASE("the token is sent over TCP and read each time") {
    const Folder folder;
    const std::string file = folder.path() / "token";
    FakeBroker broker;
    CHECK(refusal([&] { broker.client(file); }) == "INVALID_REQUEST NOT_SENT");
    write_private(file, " first\n");
    const Client client = broker.client(file);
    client.readers();
    write_private(file, "second");
    client.readers();
    broker.client().readers();
    CHECK(broker.metadata("authorization") == std::vector<std::string>{"Bearer first", "Bearer second", "none"});

    for (const char* text : {"", " \n", "a\nb", "two words", "\xC3\xBC"}) {
        write_private(file, text);
        CHECK(refusal([&] { client.readers(); }) == "INVALID_REQUEST NOT_SENT");
    }
    std::filesystem::remove(file);
    try {
        client.readers();
        FAIL("the call did not fail");
    } catch (const Error& error) {
        CHECK(std::string(error.what()).find(file) != std::string::npos);
        CHECK(error.failure().field_violations.at(0).field == "token_file");
        CHECK(error.is_permanent());
    }
}

TEST_CASE("a token file has the certificate for TLS") {
    const Folder folder;
    const std::string made = folder.path() / "made";
    Program maker(
        {std::getenv("CARDBROKERD"), "token", "new", "tests", "--tokens", folder.path() / "tokens", "--out", made}, {},
        folder.path() / "log");
    REQUIRE(maker.wait() == 0);
    std::string certificate;
    std::ifstream file(made);
    std::getline(file, certificate);
    std::getline(file, certificate, '\0');
    ConnectOptions options;
    options.connect_timeout = 0ms;
    options.token_file = folder.path() / "token";
    const auto problem = [&](const std::string& endpoint, const std::string& text) -> std::string {
        write_private(options.token_file, text);
        try {
            Client(Endpoint(endpoint), options);
            return "";
        } catch (const NotRunning& error) {
            return error.what();
        } catch (const Error& error) {
            CHECK(error.failure().field_violations.at(0).field == "token_file");
            return error.what();
        }
    };
    const std::string secure = "https://127.0.0.1:1";
    CHECK(problem(secure, "token\n" + certificate) == "no broker at " + secure + " (connection refused)");
    CHECK(problem(secure, "token\n").find("has no certificate: make a new one") != std::string::npos);
    CHECK(problem("http://127.0.0.1:1", "token\n" + certificate).find("use https://") != std::string::npos);
    for (const std::string& more : {certificate + certificate, "more\n" + certificate, std::string("more")}) {
        CHECK(problem(secure, "token\n" + more).find("has more than a token and a certificate") != std::string::npos);
    }
    options.token_file.clear();
    CHECK_THROWS_WITH_AS(Client(Endpoint(secure), options), doctest::Contains("needs a token file"), InvalidRequest);
}

TEST_CASE("a token file with access for others is refused") {
    const Folder folder;
    const std::string file = folder.path() / "token";
    FakeBroker broker;
    write_private(file, "first\n");
    const Client client = broker.client(file);
    for (const int mode : {0640, 0604, 0620, 0602, 0610}) {
        std::filesystem::permissions(file, std::filesystem::perms(mode));
        try {
            client.readers();
            FAIL("the call did not fail");
        } catch (const InvalidRequest& error) {
            CHECK(std::string(error.what()).find("chmod 600") != std::string::npos);
            CHECK(std::string(error.what()).find("first") == std::string::npos);
        }
    }
    std::filesystem::permissions(file, std::filesystem::perms(0400));
    CHECK_NOTHROW(client.readers());
    CHECK(refusal([&] { broker.client(folder.path()); }) == "INVALID_REQUEST NOT_SENT");
    if (getuid() == 0) {
        REQUIRE(chown(file.c_str(), 54'321, static_cast<gid_t>(-1)) == 0);
        try {
            client.readers();
            FAIL("the call did not fail");
        } catch (const InvalidRequest& error) {
            const std::string text = error.what();
            CHECK(text.find("belongs to another user: change its owner with chown") != std::string::npos);
        }
    }
}

TEST_CASE("a group has 1 to 128 visible ASCII characters") {
    const Broker broker;
    CHECK_NOTHROW(broker.client(std::string(128, '~')).readers());
    for (const std::string& group : {std::string(129, 'a'), std::string("a b"), std::string("a\x7F"),
                                     std::string("\xC3\xBC"), std::string("a\n")}) {
        try {
            broker.client(group);
            FAIL("the call did not fail");
        } catch (const InvalidRequest& error) {
            CHECK(error.failure().field_violations.at(0).field == "cardbroker-group");
            CHECK(error.code() == StatusCode::InvalidArgument);
            CHECK(std::string(error.what()).find(group) == std::string::npos);
        }
    }
}

TEST_CASE("the token file from the environment is for TCP only") {
    const Broker broker;
    setenv("CARDBROKER_TOKEN_FILE", "/nonexistent", 1);
    CHECK(ConnectOptions::from_environment().token_file == "/nonexistent");
    CHECK_NOTHROW(Client(Endpoint(broker.endpoint())).readers());
    unsetenv("CARDBROKER_TOKEN_FILE");
}

}  // namespace cardbroker::tests
