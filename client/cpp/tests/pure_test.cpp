// What needs no broker: endpoints, APDU bytes, the times of a call, and which message of a session restarts it.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <sstream>

#include "broker.h"
#include "pipeline.h"
#include "times.h"

static std::size_t wiped_bytes = 0;

// In the place of the C library's, so that a test sees what is wiped.
extern "C" void explicit_bzero(void* bytes, std::size_t size) noexcept {
    std::memset(bytes, 0, size);
    wiped_bytes += size;
}

namespace cardbroker::tests {

TEST_CASE("every way to write an endpoint is read") {
    const std::map<std::string, std::string> shown{
        {"unix:/run/a b.sock", "unix:/run/a b.sock"},       {"unix:///run/a.sock", "unix:/run/a.sock"},
        {"http://127.0.0.1:7000", "http://127.0.0.1:7000"}, {"http://127.0.0.1:7000/", "http://127.0.0.1:7000"},
        {"http://127.1.2.3:80", "http://127.1.2.3:80"},     {"http://[::1]:7000", "http://[::1]:7000"},
        {"http://localhost:7000", "http://localhost:7000"},
    };
    for (const auto& [text, expected] : shown) CHECK(Endpoint(text).to_string() == expected);
}

TEST_CASE("what is no endpoint on this machine is refused with the way to write one") {
    for (const char* text :
         {"", "unix:", "unix:relative.sock", "unix://host/a.sock", "unix:/run/", "/run/a.sock", "http://127.0.0.1",
          "https://127.0.0.1:7000", "http://192.168.0.1:7000", "http://example.org:7000", "http://user@127.0.0.1:7000",
          "http://127.0.0.1:7000/path", "http://127.0.0.1:70000", "http://127.0.0.1:", "http://:7000", "http://[]:1",
          "127.0.0.1:7000"}) {
        CAPTURE(text);
        try {
            Endpoint{text};
            FAIL("it was read");
        } catch (const Error& error) {
            CHECK(std::string(error.what()).find("use unix:/path or http://127.0.0.1:port") != std::string::npos);
            CHECK(error.is_permanent());
            CHECK(error.delivery() == Delivery::NotSent);
        }
    }
}

TEST_CASE("the variable says where the broker is, then the runtime folder") {
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    CHECK(Endpoint::from_environment().to_string() == "unix:/run/user/7/cardbroker/cardbroker.sock");
    setenv("CARDBROKER_ENDPOINT", "", 1);
    CHECK(Endpoint::from_environment().to_string() == "unix:/run/user/7/cardbroker/cardbroker.sock");
    setenv("CARDBROKER_ENDPOINT", "http://127.0.0.1:7000", 1);
    CHECK(Endpoint::from_environment().to_string() == "http://127.0.0.1:7000");
    unsetenv("CARDBROKER_ENDPOINT");
    unsetenv("XDG_RUNTIME_DIR");
    const std::string socket = Endpoint::from_environment().address();
    const std::string expected = getuid() == 0 ? "/run/cardbroker" : "/tmp/cardbroker-" + std::to_string(getuid());
    CHECK(socket == expected + "/cardbroker.sock");
}

TEST_CASE("APDU bytes are printed as a length") {
    std::ostringstream out;
    out << ApduBytes{0x31, 0x32, 0x33};
    CHECK(out.str() == "3 bytes");
}

TEST_CASE("APDU bytes are read from hexadecimal digits, and never repeated in an error") {
    CHECK(ApduBytes::from_hex("00 a4 04 00FF") == ApduBytes{0x00, 0xA4, 0x04, 0x00, 0xFF});
    CHECK(ApduBytes::from_hex("").empty());
    for (const char* text : {"0", "00 A", "0G", "0x00", "A 0", "31323334\n"}) {
        CAPTURE(text);
        CHECK_THROWS_AS(ApduBytes::from_hex(text), std::invalid_argument);
    }
}

TEST_CASE("APDU bytes are wiped when they are destroyed or replaced, once") {
    wiped_bytes = 0;
    {
        ApduBytes bytes(std::vector<std::uint8_t>(13));
        const ApduBytes moved = std::move(bytes);
        CHECK(wiped_bytes == 0);
    }
    CHECK(wiped_bytes == 13);
    ApduBytes replaced(std::vector<std::uint8_t>(5));
    replaced = ApduBytes();
    CHECK(wiped_bytes == 18);
}

TEST_CASE("the wait ends before the deadline by a tenth but at least 50 ms") {
    CHECK(times(30s, 10s).deadline == 10s);
    CHECK(times(30s, 10s).wait == 9s);
    CHECK(times(30s, 100ms).wait == 50ms);
    CHECK(times(30s, 20ms).wait == 0s);
    CHECK(times(-1s, -1s).deadline == 0s);
}

TEST_CASE("without a deadline a wait keeps its length and the card gets its time") {
    CHECK(times(30s, std::nullopt).deadline == 180s);
    for (const auto wait : {0s, 30s, 600s, 86'400s}) {
        CHECK(times(wait, std::nullopt).wait == wait);
        CHECK(times(wait, std::nullopt).deadline >= wait + card_time);
    }
    CHECK(times(std::chrono::nanoseconds::max(), std::nullopt).deadline == max_deadline);
}

TEST_CASE("the first message sent in the light of the failure restarts, and only that one") {
    Pipeline pipeline;
    CHECK(!pipeline.send(0).restart);
    CHECK(!pipeline.send(0).restart);
    const auto known = pipeline.answer(1, Outcome::Failed).value();
    CHECK(!pipeline.send(0).restart);
    CHECK(pipeline.send(known).restart);
    CHECK(!pipeline.send(known).restart);
    CHECK(pipeline.answer(2, Outcome::PrecedingFailed) == known);
    CHECK(pipeline.answer(3, Outcome::PrecedingFailed) == known);
    CHECK(!pipeline.send(known).restart);
}

TEST_CASE("a failure after the restart needs another") {
    Pipeline pipeline;
    pipeline.send(0);
    const auto first = pipeline.answer(1, Outcome::Failed).value();
    pipeline.send(first);
    const auto second = pipeline.answer(2, Outcome::Failed).value();
    CHECK(!pipeline.send(first).restart);
    CHECK(pipeline.send(second).restart);
}

TEST_CASE("what the broker counts as a failure is one, and an answer out of turn is noticed") {
    Pipeline pipeline;
    pipeline.send(0);
    pipeline.send(0);
    CHECK(!pipeline.answer(2, Outcome::Done));
    CHECK(pipeline.answer(1, Outcome::Done) == 0);
    const auto known = pipeline.answer(2, Outcome::PrecedingFailed).value();
    CHECK(pipeline.send(known).restart);
    CHECK(pipeline.size() == 1);
}

}  // namespace cardbroker::tests
