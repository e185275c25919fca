// The watches with the real broker and a fake one.
#include <doctest/doctest.h>

#include <thread>

#include "broker.h"
#include "fake_broker.h"

namespace cardbroker::tests {

namespace {

/// The next event as a short text; "nothing" if none comes in time.
std::string next(Watch& watch, std::chrono::nanoseconds timeout = longest) {
    struct Teller {
        std::string operator()(const Connected&) const { return "connected"; }
        std::string operator()(const Disconnected& event) const {
            return "disconnected: " + to_string(event.error.delivery());
        }
        std::string operator()(const Updated& event) const {
            return event.reader.name + ' ' + to_string(event.reader.state);
        }
        std::string operator()(const Removed& event) const { return event.reader.name + " gone"; }
    };
    const auto event = watch.next(timeout);
    return event ? std::visit(Teller(), *event) : "nothing";
}

void until_told(Watch& watch, const std::string& event) {
    for (int tries = 0; tries < 50; ++tries) {
        if (next(watch) == event) return;
    }
    FAIL("not reported: " << event);
}

bool all_ready(const Watch& watch) {
    for (const auto& [name, known] : watch.readers()) {
        if (known.state != ReaderState::Ready) return false;
    }
    return watch.readers().size() == 2;
}

void until_ready(Watch& watch) {
    const auto deadline = std::chrono::steady_clock::now() + longest;
    while (!all_ready(watch)) {
        REQUIRE(std::chrono::steady_clock::now() < deadline);
        watch.next(longest);
    }
}

}  // namespace

TEST_CASE("a watch reports readers and their changes") {
    const Broker broker;
    const Client client = broker.client();
    Watch watch = client.watch();
    CHECK(watch.readers().empty());
    CHECK(!watch.is_connected());
    CHECK(next(watch) == "connected");
    CHECK(watch.is_connected());
    until_ready(watch);
    while (watch.next(0s)) {
    }
    const std::string insertion = watch.readers().at(reader).insertion_id;
    client.transmit(reader, commands({fault(2, 0, 200)}));
    until_told(watch, reader + " EMPTY");
    until_told(watch, reader + " READY");
    CHECK(watch.readers().at(reader).insertion_id != insertion);
    CHECK(next(watch, 50ms) == "nothing");
}

TEST_CASE("a second snapshot reports only differences") {
    FakeBroker broker;
    broker.snapshot = [](std::size_t number) {
        v1::WatchReadersResponse message;
        message.set_resume_token("token " + std::to_string(number));
        for (const char* name : {"same", "changed", number == 0 ? "old" : "new"}) {
            v1::Reader& added = *message.mutable_snapshot()->add_readers();
            added.set_name(name);
            added.set_state(v1::READER_STATE_READY);
            if (added.name() == "changed" && number > 0) added.set_state(v1::READER_STATE_EMPTY);
        }
        return message;
    };
    Watch watch = broker.client().watch();
    std::vector<std::string> events;
    for (int event = 0; event < 10; ++event) events.push_back(next(watch));
    CHECK(events == std::vector<std::string>{"connected", "changed READY", "old READY", "same READY",
                                             "disconnected: NOT_SENT", "connected", "old gone", "changed EMPTY",
                                             "new READY", "disconnected: NOT_SENT"});
    CHECK(broker.resume_tokens().at(0).empty());
    CHECK(broker.resume_tokens().at(1) == "token 0");
}

TEST_CASE("a missing broker is reported after the connect timeout") {
    Broker broker;
    ConnectOptions options;
    options.connect_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(longest);
    const Client client(Endpoint(broker.endpoint()), options);
    const Client impatient = broker.client();
    broker.kill();
    Watch watch = client.watch();
    CHECK(next(watch, 500ms) == "nothing");
    Watch short_watch = impatient.watch();
    const auto start = std::chrono::steady_clock::now();
    CHECK(next(short_watch) == "disconnected: NOT_SENT");
    CHECK(std::chrono::steady_clock::now() - start >= 150ms);
    broker.start();
    CHECK(next(watch) == "connected");
}

TEST_CASE("a watch finds the broker again") {
    Broker broker;
    Watch watch = broker.client().watch();
    until_ready(watch);
    while (watch.next(0s)) {
    }
    broker.kill();
    CHECK(next(watch) == "disconnected: NOT_SENT");
    CHECK(!watch.is_connected());
    CHECK(watch.readers().size() == 2);
    CHECK(next(watch, 500ms) == "nothing");
    broker.start(1);
    CHECK(next(watch) == "connected");
    CHECK(next(watch) == "readers/simulated-reader-01 gone");
    until_told(watch, reader + " READY");
    CHECK(watch.readers().size() == 1);
}

TEST_CASE("a stopped watch returns nothing") {
    const Broker broker;
    Watch watch = broker.client().watch();
    until_ready(watch);
    while (watch.next(0s)) {
    }
    std::thread other([&] {
        std::this_thread::sleep_for(50ms);
        watch.stop();
        watch.stop();
    });
    const auto start = std::chrono::steady_clock::now();
    CHECK(next(watch, longest) == "nothing");
    CHECK(std::chrono::steady_clock::now() - start < longest / 2);
    other.join();
    CHECK(watch.is_stopped());
    CHECK(next(watch) == "nothing");
}

TEST_CASE("a watch of turns reports waiting requests and the holder") {
    const Broker broker;
    const Client client = broker.client();
    TurnWatch watch = client.watch_turn();
    CHECK(watch.next(longest).value().empty());
    Session holder = client.open_session(reader);
    std::thread waiter([&] { client.transmit(reader, commands({read_record})); });
    std::vector<WaitingTurn> waiting;
    until([&] { return !(waiting = watch.next(longest).value()).empty(); });
    CHECK(waiting[0].reader == reader);
    CHECK(!waiting[0].is_session);
    CHECK(waiting[0].deadline_time > waiting[0].arrive_time);
    REQUIRE(waiting[0].holder);
    CHECK(waiting[0].holder->is_own);
    CHECK(waiting[0].holder->is_session);
    holder.close();
    waiter.join();
    CHECK(watch.next(longest).value().empty());
    CHECK(!watch.next(50ms));
    watch.stop();
    CHECK(!watch.next(longest));
}

TEST_CASE("a watch of turns skips heartbeats and throws its end") {
    FakeBroker broker;
    broker.turns.resize(3);
    broker.turns[1].set_is_heartbeat(true);
    broker.turns[2].add_waiting()->set_turns_ahead_count(7);
    TurnWatch watch = broker.client().watch_turn();
    CHECK(watch.next(longest).value().empty());
    CHECK(watch.next(longest).value().at(0).turns_ahead_count == 7);
    for (int call = 0; call < 2; ++call) {
        CHECK(refusal([&] { watch.next(longest); }) == "SHUTTING_DOWN NOT_SENT");
    }
}

}  // namespace cardbroker::tests
