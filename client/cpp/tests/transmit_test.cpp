// Readers and units with the real broker.
#include <doctest/doctest.h>
#include <unistd.h>

#include <future>

#include "broker.h"

namespace cardbroker::tests {

using Texts = std::vector<std::string>;

TEST_CASE("readers are listed with their state") {
    const Broker broker;
    const Client client = broker.client();
    until([&] { return client.readers().at(1).state == ReaderState::Ready; });
    const std::vector<Reader> readers = client.readers();
    REQUIRE(readers.size() == 2);
    CHECK(readers[0].name == reader);
    CHECK(readers[0].display_name == "Simulated Reader 00");
    CHECK(to_string(readers[0].state) == "READY");
    CHECK(readers[0].active_protocol == CardProtocol::T1);
    CHECK(readers[1].active_protocol == CardProtocol::T0);
    CHECK(readers[0].atr.size() == 12);
    CHECK(!readers[0].insertion_id.empty());
}

TEST_CASE("a reader may be named in four ways") {
    const Broker broker;
    const Client client = broker.client();
    const Reader listed = client.readers().at(0);
    for (const ReaderName& name : {ReaderName(listed), ReaderName(reader), ReaderName("simulated-reader-00"),
                                   ReaderName("Simulated Reader 00")}) {
        CHECK(client.reader(name).name == reader);
        CHECK(client.transmit(name, commands({read_record})).results.size() == 1);
    }
    CHECK(refusal([&] { client.reader("none"); }) == "READER_NOT_FOUND NOT_SENT");
    CHECK_THROWS_AS(client.transmit("Simulated Reader", commands({read_record})), InvalidRequest);
}

TEST_CASE("the broker describes itself, its limits and its caller") {
    const Broker broker;
    const BrokerInfo info = broker.client("a-key").broker();
    CHECK(!info.version.empty());
    CHECK(!info.epoch.empty());
    CHECK(info.limits.max_commands == 64);
    CHECK(info.caller.process_id == getpid());
    CHECK(info.caller.group > 0);
}

TEST_CASE("a withheld PIN has the tries that are left") {
    const Broker broker;
    const Client client = broker.client();
    const char* const wrong = "00200080083939393939393939";
    CHECK(client.transmit(reader, commands({wrong})).results[0].status_word() == 0x63C2);
    try {
        client.transmit(reader, commands({read_record, wrong}));
        FAIL("the PIN was sent again");
    } catch (const Stopped& stopped) {
        CHECK(stopped.index() == 1);
        CHECK(stopped.reason() == ErrorReason::PinKnownWrong);
        CHECK(stopped.tries_left() == 2);
    }
}

TEST_CASE("answers are completed after 61xx unless commands are raw") {
    const Broker broker;
    const Client client = broker.client();
    const Transmitted completed = client.transmit(reader, commands({select_application, "00B2010400"}));
    CHECK(completed.results[0].data().size() == 19);
    CHECK(completed.results[0].status_word() == 0x9000);
    const auto first = std::get<ApduResult>(completed.results[0].outcome);
    CHECK(first.status_word_source == StatusWordSource::GetResponse);
    CHECK(first.get_response_count == 1);
    CHECK(std::get<ApduResult>(completed.results[1].outcome).status_word_source == StatusWordSource::CorrectedCommand);
    CHECK(completed.results[0].card_duration.count() > 0);
    CHECK(!completed.insertion_id.empty());
    CHECK(!completed.state_tag.empty());
    CHECK(completed.card_duration.count() > 0);

    const Command raw = Command::raw(ApduBytes::from_hex(select_application));
    CHECK(texts(client.transmit(reader, {raw, ApduBytes::from_hex(read_record)}))[0] == "6113");
}

TEST_CASE("a stopped unit throws with its answers") {
    const Broker broker;
    const Client client = broker.client();
    try {
        client.transmit(reader, commands({read_record, read_protected, count_commands}));
        FAIL("the unit did not stop");
    } catch (const Stopped& stopped) {
        CHECK(stopped.index() == 2);
        CHECK(stopped.reason() == ErrorReason::StatusWord);
        CHECK(stopped.delivery() == Delivery::NotSent);
        REQUIRE(stopped.partial().results.size() == 2);
        CHECK(texts(stopped.partial().results[1]) == "6982");
        CHECK(std::string(stopped.what()).find("command 3") != std::string::npos);
    }
    Command lenient = ApduBytes::from_hex(read_protected);
    lenient.continue_on = {{0x6900, 0xFF00}};
    CHECK(client.transmit(reader, {lenient, ApduBytes::from_hex(count_commands)}).results.size() == 2);
}

TEST_CASE("another instruction can fetch the rest of an answer") {
    const Broker broker;
    ApduCommand command(ApduBytes::from_hex("8018000000"));
    command.continue_instruction = 0xA5;
    CHECK(texts(broker.client().transmit(reader, {command})) == Texts{"636861696E 9000"});
}

TEST_CASE("failures have their reason and their delivery") {
    const Broker broker;
    const Client client = broker.client();
    const auto fails = [&](const std::string& name, const std::vector<Command>& unit, TransmitOptions options = {}) {
        return refusal([&] { client.transmit(name, unit, options); });
    };
    CHECK(fails(reader, {}) == "INVALID_REQUEST NOT_SENT");
    CHECK(fails(reader, std::vector<Command>(65, Command{0, 0, 0, 0})) == "INVALID_REQUEST NOT_SENT");
    CHECK(fails(reader, {{0, 0, 0}}) == "INVALID_REQUEST NOT_SENT");
    CHECK(fails(reader, std::vector<Command>(17, ApduBytes(std::vector<std::uint8_t>(65'544)))) ==
          "INVALID_REQUEST NOT_SENT");
    CHECK(fails(reader, commands({malformed})) == "INVALID_REQUEST NOT_SENT");
    CHECK(fails("readers/none", commands({read_record})) == "READER_NOT_FOUND NOT_SENT");

    TransmitOptions stale;
    stale.if_state_tag = "another";
    CHECK(fails(reader, commands({read_record}), stale) == "STATE_CHANGED NOT_SENT");
    stale = {};
    stale.if_insertion_id = "another";
    CHECK(fails(reader, commands({read_record}), stale) == "INSERTION_CHANGED NOT_SENT");

    CHECK(fails(reader, commands({fault(1, 0, 0xFFFF)})) == "CARD_REMOVED UNKNOWN");
    CHECK(fails(reader, commands({read_record})) == "NO_CARD NOT_SENT");
    TransmitOptions brief;
    brief.card = CardRequirement::Awaited;
    brief.wait_timeout = 50ms;
    CHECK(fails(reader, commands({read_record}), brief) == "QUEUE_TIMEOUT NOT_SENT");
}

TEST_CASE("a unit can wait for a card") {
    const Broker broker;
    const Client client = broker.client();
    client.transmit(reader, commands({fault(2, 0, 300)}));
    until([&] { return client.readers().at(0).state == ReaderState::Empty; });
    TransmitOptions options;
    options.card = CardRequirement::Awaited;
    CHECK(texts(client.transmit(reader, commands({read_record}), options))[0].find("9000") != std::string::npos);
}

TEST_CASE("a deadline during a command makes its delivery UNKNOWN") {
    const Broker broker;
    const Client client = broker.client();
    TransmitOptions options;
    options.deadline = 200ms;
    CHECK(refusal([&] { client.transmit(reader, commands({slow(1000)}), options); }) == "DEADLINE_NEAR UNKNOWN");
}

TEST_CASE("a state tag expires and a reset clears the PIN") {
    const Broker broker;
    const Client client = broker.client();
    TransmitOptions options;
    options.if_state_tag = client.transmit(reader, commands({verify})).state_tag;
    CHECK(texts(client.transmit(reader, commands({read_protected}), options))[0].find("9000") != std::string::npos);
    CHECK(refusal([&] { client.transmit(reader, commands({read_protected}), options); }) == "STATE_CHANGED NOT_SENT");
    options = {};
    options.reset_before = CardReset::Warm;
    const Transmitted reset = client.transmit(reader, commands({read_protected}), options);
    CHECK(texts(reset) == Texts{"6982"});
    CHECK(reset.was_reset);
}

TEST_CASE("a repeated request id gets the first outcome") {
    const Broker broker;
    const Client client = broker.client();
    TransmitOptions options;
    options.request_id.assign(16, 7);
    const auto first = texts(client.transmit(reader, commands({count_commands}), options));
    const Transmitted again = client.transmit(reader, commands({count_commands}), options);
    CHECK(again.replayed);
    CHECK(texts(again) == first);
}

TEST_CASE("a verified PIN stays within the isolation group") {
    const Broker broker;
    const Client one = broker.client("a-key");
    one.transmit(reader, commands({verify}));
    CHECK(texts(broker.client("a-key").transmit(reader, commands({read_protected})))[0].find("9000") !=
          std::string::npos);
    CHECK(texts(broker.client("another").transmit(reader, commands({read_protected}))) == Texts{"6982"});
    CHECK(texts(one.transmit(reader, commands({read_protected}))) == Texts{"6982"});
    CHECK(refusal([&] { broker.client("gr\xC3\xBC\xC3\x9F"); }) == "INVALID_REQUEST NOT_SENT");
}

TEST_CASE("the group comes from the environment") {
    const Broker broker;
    const Client parent = broker.client("inherited");
    parent.transmit(reader, commands({verify}));
    setenv("CARDBROKER_GROUP", "inherited", 1);
    setenv("CARDBROKER_ENDPOINT", broker.endpoint().c_str(), 1);
    const Client client;
    unsetenv("CARDBROKER_GROUP");
    unsetenv("CARDBROKER_ENDPOINT");
    CHECK(texts(client.transmit(reader, commands({read_protected})))[0].find("9000") != std::string::npos);
}

TEST_CASE("one client serves several threads") {
    const Broker broker;
    const Client client = broker.client();
    std::vector<std::future<void>> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.push_back(std::async(std::launch::async, [&] {
            const std::vector<Command> raw{Command::raw(ApduBytes::from_hex(select_application)),
                                           Command::raw(ApduBytes::from_hex(get_response))};
            for (int pair = 0; pair < 25; ++pair) {
                const auto unit = client.transmit(reader, raw);
                if (unit.results.at(1).status_word() != 0x9000) throw std::runtime_error("a broken pair");
            }
        }));
    }
    for (std::future<void>& thread : threads) CHECK_NOTHROW(thread.get());
}

}  // namespace cardbroker::tests
