// Sessions with the real broker.
#include <doctest/doctest.h>

#include <future>
#include <stdexcept>
#include <thread>

#include "broker.h"

namespace cardbroker::tests {

using Texts = std::vector<std::string>;

TEST_CASE("a session holds the card and resets it at close") {
    const Broker broker;
    const Client client = broker.client();
    Session session = client.open_session(reader);
    CHECK(session.is_open());
    CHECK(session.atr().size() == 12);
    CHECK(session.insertion_id() == client.readers().at(0).insertion_id);
    CHECK(!session.state_tag().empty());
    CHECK(texts(session.transmit({Command::raw(ApduBytes::from_hex(select_application))})) == Texts{"6113"});
    const Transmitted fetched = session.transmit({Command::raw(ApduBytes::from_hex(get_response))});
    CHECK(fetched.results[0].status_word() == 0x9000);
    CHECK(fetched.insertion_id == session.insertion_id());
    session.transmit(commands({verify}));
    session.close();
    CHECK(!session.is_open());
    CHECK(refusal([&] { session.transmit(commands({read_record})); }) == "no reason NOT_SENT");
    CHECK(texts(client.transmit(reader, commands({read_protected}))) == Texts{"6982"});
}

TEST_CASE("a closed session with LEAVE leaves the card unchanged") {
    const Broker broker;
    const Client client = broker.client();
    SessionOptions options;
    options.disposition = Disposition::Leave;
    const auto verified_after = [&](bool close) {
        Session session = client.open_session(reader, options);
        session.transmit(commands({verify}));
        if (close) session.close();
    };
    verified_after(true);
    CHECK(texts(client.transmit(reader, commands({read_protected})))[0].find("9000") != std::string::npos);
    verified_after(false);
    CHECK(texts(client.transmit(reader, commands({read_protected}))) == Texts{"6982"});
}

TEST_CASE("more than 32 overlapping calls run in their order") {
    const Broker broker;
    Session session = broker.client().open_session(reader);
    std::vector<Pending> pending;
    for (int call = 0; call < 100; ++call) pending.push_back(session.begin(commands({count_commands})));
    std::uint8_t last = 0;
    for (Pending& call : pending) {
        const std::uint8_t count = call.get().results[0].data()[3];
        CHECK(count > last);
        last = count;
    }
    const Pending slow_one = session.begin(commands({slow(300)}));
    CHECK(!slow_one.wait_for(0s));
    CHECK(slow_one.wait_for(longest));
    session.close();
}

TEST_CASE("calls begun before the close are answered") {
    const Broker broker;
    Session session = broker.client().open_session(reader);
    Pending slow_one = session.begin(commands({slow(200), read_record}));
    session.close();
    CHECK(slow_one.get().results.size() == 2);
}

TEST_CASE("a stop keeps its answers and the session open") {
    const Broker broker;
    Session session = broker.client().open_session(reader);
    try {
        session.transmit(commands({read_protected, read_record}));
        FAIL("the unit did not stop");
    } catch (const Stopped& stopped) {
        CHECK(stopped.index() == 1);
        CHECK(texts(stopped.partial()) == Texts{"6982"});
    }
    CHECK(session.transmit(commands({read_record})).results.size() == 1);
}

TEST_CASE("a failure fails messages behind it but not the next") {
    const Broker broker;
    Session session = broker.client().open_session(reader);
    // Keeps the card busy, so that all three are sent before the second one fails.
    Pending before = session.begin(commands({slow(200)}));
    Pending failing = session.begin(commands({malformed}));
    Pending behind = session.begin(commands({read_record}));
    CHECK(texts(before.get()) == Texts{"9000"});
    CHECK(refusal([&] { failing.get(); }) == "INVALID_REQUEST NOT_SENT");
    CHECK(refusal([&] { behind.get(); }) == "PRECEDING_FAILED NOT_SENT");
    CHECK(session.is_open());
    CHECK(session.transmit(commands({read_record})).results.size() == 1);
    CHECK(session.transmit(commands({read_record})).results.size() == 1);
    session.close();
}

TEST_CASE("a reset within the session clears the verified PIN") {
    const Broker broker;
    Session session = broker.client().open_session(reader);
    for (const CardReset kind : {CardReset::Warm, CardReset::Cold}) {
        session.transmit(commands({verify}));
        CHECK(session.reset(kind) == session.atr());
        CHECK(texts(session.transmit(commands({read_protected}))) == Texts{"6982"});
    }
}

TEST_CASE("a destroyed or replaced session ends at once") {
    const Broker broker;
    const Client client = broker.client();
    const auto start = std::chrono::steady_clock::now();
    {
        Session session = client.open_session(reader);
        const Pending running = session.begin(commands({slow(1000)}));
        const Pending waiting = session.begin(commands({slow(60'000)}));
    }
    CHECK(std::chrono::steady_clock::now() - start < 30s);
    Session session = client.open_session(reader);
    session = client.open_session("readers/simulated-reader-01");
    CHECK(client.transmit(reader, commands({read_record})).results.size() == 1);
}

TEST_CASE("an exception ends the session at once") {
    const Broker broker;
    const Client client = broker.client();
    try {
        Session session = client.open_session(reader);
        session.transmit(commands({verify}));
        throw std::runtime_error("the program's own");
    } catch (const std::runtime_error&) {
    }
    CHECK(texts(client.transmit(reader, commands({read_protected}))) == Texts{"6982"});
}

TEST_CASE("another thread can abort waiting calls") {
    const Broker broker;
    Session session = broker.client().open_session(reader);
    Pending running = session.begin(commands({slow(60'000)}));
    std::thread other([&] { session.abort(); });
    CHECK(refusal([&] { running.get(); }) == "no reason UNKNOWN");
    other.join();
    CHECK(!session.is_open());
    CHECK(refusal([&] { session.transmit(commands({read_record})); }) == "no reason NOT_SENT");
    CHECK_THROWS_AS(session.close(), Error);
}

TEST_CASE("holders see waiters and waiters their queue position") {
    const Broker broker;
    Session holder = broker.client().open_session(reader);
    CHECK(holder.waiters() == 0);
    std::promise<std::int32_t> told_place;
    SessionOptions options;
    options.on_queue_position = [&, first = true](std::int32_t place) mutable {
        if (std::exchange(first, false)) told_place.set_value(place);
    };
    auto second = std::async(std::launch::async, [&] { return broker.client("other").open_session(reader, options); });
    CHECK(told_place.get_future().get() == 1);
    until([&] { return holder.waiters() == 1; });
    holder.close();
    Session session = second.get();
    CHECK(session.queue_duration().count() > 0);
    session.close();
}

TEST_CASE("a timeout or a callback's exception ends the opening") {
    const Broker broker;
    const Client client = broker.client();
    Session holder = client.open_session(reader);
    SessionOptions options;
    options.wait_timeout = 50ms;
    CHECK(refusal([&] { client.open_session(reader, options); }) == "QUEUE_TIMEOUT NOT_SENT");
    options.wait_timeout = 30s;
    options.on_queue_position = [](std::int32_t) { throw std::runtime_error("enough"); };
    CHECK_THROWS_WITH(client.open_session(reader, options), "enough");
    CHECK(refusal([&] { client.open_session("readers/none"); }) == "READER_NOT_FOUND NOT_SENT");
    options = {};
    options.if_insertion_id = "another";
    holder.close();
    CHECK(refusal([&] { client.open_session(reader, options); }) == "INSERTION_CHANGED NOT_SENT");
}

TEST_CASE("a removal makes the running command UNKNOWN, others NOT_SENT") {
    const Broker broker;
    Session session = broker.client().open_session(reader);
    Pending fatal = session.begin(commands({fault(1, 100, 0xFFFF)}));
    CHECK(refusal([&] { fatal.get(); }) == "CARD_REMOVED UNKNOWN");
    until([&] { return !session.is_open(); });
    CHECK(refusal([&] { session.transmit(commands({read_record})); }) == "CARD_REMOVED NOT_SENT");
    CHECK_THROWS_AS(session.close(), Error);
}

}  // namespace cardbroker::tests
