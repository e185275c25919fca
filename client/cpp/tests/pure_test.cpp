// Parts without a broker: the default places, APDU bytes, the times of a call, and the restart of a session's
// messages.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "broker.h"
#include "pipeline.h"
#include "places.h"
#include "random.h"
#include "secret_mount.h"
#include "times.h"

namespace cardbroker::tests {

TEST_CASE("the variable wins over the default places") {
    setenv("CARDBROKER_ENDPOINT", "https://127.0.0.1:7000", 1);
    CHECK(Endpoint::from_environment()->to_string() == "https://127.0.0.1:7000");
    setenv("CARDBROKER_ENDPOINT", "", 1);
    CHECK(!Endpoint::from_environment());
    unsetenv("CARDBROKER_ENDPOINT");
    CHECK(!Endpoint::from_environment());
}

TEST_CASE("the default places depend on runtime folder and user") {
    const auto paths = [](uid_t uid, const std::string& runtime) {
        std::string text;
        for (const Place& place : places(uid, runtime)) text += place.path + ' ';
        return text;
    };
    const std::string system = "/run/cardbroker/cardbroker.sock ";
    CHECK(paths(7, "") == "/run/user/7/cardbroker/cardbroker.sock " + system);
    CHECK(paths(7, "relative") == "/run/user/7/cardbroker/cardbroker.sock " + system);
    CHECK(paths(7, "/a/") == "/a/cardbroker/cardbroker.sock " + system);
    CHECK(paths(0, "/run/user/7") == system);
}

TEST_CASE("a path too long for a socket is reported at once") {
    ConnectOptions options;
    options.connect_timeout = std::chrono::minutes(1);
    CHECK_THROWS_WITH_AS(Client(Endpoint("unix:/" + std::string(107, 'x')), options),
                         doctest::Contains("the path is longer than a socket's 107 bytes"), NotRunning);
}

TEST_CASE("only mounts for secrets are taken for them") {
    // The same as in proto/conformance/secret_mounts.json.
    const std::string mounts =
        "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
        "25 22 0:23 / /run rw shared:5 - tmpfs tmpfs rw,mode=755\n"
        "30 25 0:40 / /run/secrets rw,relatime - tmpfs tmpfs rw\n"
        "31 25 0:41 / /run/credentials/app.service ro,nosuid - ramfs ramfs rw\n"
        "32 22 254:1 /srv/token /etc/app/token ro,relatime - ext4 /dev/vda1 rw\n"
        "33 22 0:42 / /mnt/my\\040secrets rw,relatime - tmpfs tmpfs rw\n"
        "34 22 254:2 / /media/disc rw,relatime - iso9660 /dev/sr0 ro\n";
    const auto accepts = [&](const char* folder, const char* file) { return is_secret_mount(mounts, folder, file); };
    CHECK(accepts("/run/secrets", "/run/secrets/..2026/token"));
    CHECK(accepts("/mnt/my secrets", "/mnt/my secrets/token"));
    CHECK(accepts("/run/credentials/app.service", "/run/credentials/app.service/token"));
    CHECK(accepts("/etc/app", "/etc/app/token"));
    CHECK(accepts("/media/disc/a", "/media/disc/a/token"));
    CHECK_FALSE(accepts("/run", "/run/token"));
    CHECK_FALSE(accepts("/run/secrets/app", "/run/secrets/app/token"));
    CHECK_FALSE(accepts("/run/secrets2", "/run/secrets2/token"));
    CHECK_FALSE(accepts("/run/secrets", "/etc/other/token"));
    CHECK_FALSE(accepts("/srv/me", "/run/credentials/app.service/token"));
}

TEST_CASE("enums print their short names, unknown values their numbers") {
    std::ostringstream out;
    out << ErrorReason::NoCard << ' ' << Delivery::NotSent << ' ' << ReaderState::HeldElsewhere << ' '
        << StatusCode::DataLoss << ' ' << CardProtocol::T1 << ' ' << static_cast<ErrorReason>(999) << ' '
        << static_cast<StatusCode>(-1);
    CHECK(out.str() == "NO_CARD NOT_SENT HELD_ELSEWHERE DATA_LOSS T1 999 -1");
}

TEST_CASE("neither APDU bytes nor their number are printed") {
    std::ostringstream out;
    out << ApduBytes{0x31, 0x32, 0x33};
    CHECK(out.str() == "[redacted]");
}

TEST_CASE("APDU bytes are parsed without repeating them in errors") {
    CHECK(ApduBytes::from_hex("00 a4 04 00FF") == ApduBytes{0x00, 0xA4, 0x04, 0x00, 0xFF});
    CHECK(ApduBytes::from_hex("").empty());
    for (const char* text : {"0", "00 A", "0G", "0x00", "A 0", "31323334\n"}) {
        CAPTURE(text);
        CHECK_THROWS_AS(ApduBytes::from_hex(text), std::invalid_argument);
    }
}

TEST_CASE("random bytes are complete and differ") {
    const std::string first = random_bytes(256);
    CHECK(first.size() == 256);
    CHECK(first != random_bytes(256));
    // A byte that stays zero in all rounds is not filled: by chance this happens once in 2^128 runs or less.
    std::string filled(16, '\0');
    for (int round = 0; round < 17; ++round) {
        const std::string id = random_bytes(filled.size());
        for (std::size_t at = 0; at < filled.size(); ++at) filled[at] = static_cast<char>(filled[at] | id[at]);
    }
    CHECK(filled.find('\0') == filled.npos);
}

TEST_CASE("the wait ends a tenth before the deadline") {
    CHECK(times(30s, 10s).deadline == 10s);
    CHECK(times(30s, 10s).wait == 9s);
    CHECK(times(30s, 100ms).wait == 50ms);
    CHECK(times(std::nullopt, 20ms).wait == 0s);
    CHECK(times(std::nullopt, 60s).wait == std::nullopt);
    CHECK(times(-1s, -1s).deadline == 0s);
}

TEST_CASE("the default deadline adds card time to the wait") {
    CHECK(times(std::nullopt, std::nullopt).deadline == 180s);
    CHECK(times(std::nullopt, std::nullopt).wait == std::nullopt);
    for (const auto wait : {0s, 30s, 600s, 86'400s}) {
        CHECK(times(wait, std::nullopt).wait == wait);
        CHECK(times(wait, std::nullopt).deadline >= wait + card_time);
    }
    CHECK(times(std::chrono::nanoseconds::max(), std::nullopt).deadline == max_deadline);
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

TEST_CASE("a Never message leaves the restart to the next one") {
    Pipeline pipeline;
    pipeline.send(0);
    const auto known = pipeline.answer(1, Outcome::Failed).value();
    CHECK(!pipeline.send(known, Restart::Never).restart);
    CHECK(pipeline.answer(2, Outcome::PrecedingFailed) == known);
    CHECK(pipeline.send(known).restart);
    CHECK(pipeline.send(0, Restart::Now).restart);
}

TEST_CASE("unexplained PrecedingFailed counts, answers out of order are noticed") {
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
