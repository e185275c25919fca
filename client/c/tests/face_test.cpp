// The C++ face with a real broker: values, exceptions with their types, and handles that free themselves.
#include <unistd.h>
#include <cardbroker.hpp>

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <thread>
#include <type_traits>

using namespace cardbroker;
using namespace std::chrono_literals;

namespace {

const char* const reader = "readers/simulated-reader-00";
const ApduBytes select_command = ApduBytes::from_hex("00 A4 04 00 06 F0 43 41 52 44 01");
const ApduBytes verify = ApduBytes::from_hex("00200080083132333435363738");
const ApduBytes wrong = ApduBytes::from_hex("00200080083939393939393939");
const ApduBytes read_protected = ApduBytes::from_hex("00B0810005");

void check(bool condition, int line) {
    if (condition) return;
    std::cerr << __FILE__ << ':' << line << ": broken\n";
    std::exit(1);
}
#define CHECK(condition) check(condition, __LINE__)

/// The failure of a call as an exception of this type.
template <typename Expected, typename Call>
Expected failure_of(Call call) {
    try {
        call();
    } catch (const Expected& error) {
        return error;
    }
    CHECK(false);
    std::abort();
}

template <typename T>
std::string shown(const T& value) {
    std::ostringstream out;
    out << value;
    return out.str();
}

void values() {
    CHECK(shown(select_command) == "[redacted]" && select_command.size() == 11);
    CHECK(shown(ReaderState::Ready) == "READY" && shown(static_cast<ErrorReason>(9999)) == "9999");
    CHECK(meaning(0x6A82) == "file or application not found" && !meaning(0x9F10));
    static_assert(!std::is_copy_constructible_v<Session> && std::is_nothrow_move_constructible_v<Session>);
}

void units(const Client& client) {
    CHECK(client.readers().size() == 2 && client.reader("Simulated Reader 00").name == reader);
    const auto unit = client.transmit(client.readers()[0], {select_command, {0x80, 0x12, 0x00, 0x00, 0x04}});
    CHECK(unit.results.size() == 2 && unit.results[0].data().size() == 19);
    CHECK(unit.results[0].status_word() == 0x9000);
    CHECK(unit.results[0].status_word_source == StatusWordSource::GetResponse);
    const auto raw = client.transmit(reader, {Command::raw(select_command)});
    CHECK(raw.results[0].status_word() == 0x6113);
    Command any = read_protected;
    any.stop_rule = StopRule::Any;
    CHECK(client.transmit(reader, {any, select_command}).results.size() == 2);
    Command matching = read_protected;
    matching.continue_on = {{0x6900, 0xFF00}, {0x9000, std::nullopt}};
    CHECK(client.transmit(reader, {matching, select_command}).results[0].status_word() == 0x6982);
}

void description(const Client& client) {
    const BrokerInfo broker = client.broker();
    CHECK(!broker.version.empty() && !broker.epoch.empty());
    CHECK(broker.start_time > std::chrono::system_clock::now() - 1h);
    CHECK(broker.limits.max_commands == 64 && broker.limits.outcome_lifetime >= 1s && !broker.limits.turn_quantum);
    CHECK(broker.caller.process_id == getpid() && broker.caller.principal == "user " + std::to_string(geteuid()));
}

void errors(const Client& client) {
    const auto stopped = failure_of<Stopped>([&] { client.transmit(reader, {read_protected, select_command}); });
    CHECK(stopped.index() == 1 && stopped.partial().results[0].status_word() == 0x6982);
    CHECK(stopped.reason() == ErrorReason::StatusWord && stopped.delivery() == Delivery::NotSent);
    const auto invalid = failure_of<InvalidRequest>([&] { client.transmit(reader, {{0x00}}); });
    CHECK(invalid.failure().field_violations.at(0).field == "commands[0].apdu.bytes" && invalid.is_permanent());
    CHECK(failure_of<Error>([&] { client.reader("readers/none"); }).code() == StatusCode::NotFound);
    CHECK(client.transmit(reader, {wrong}).results[0].status_word() == 0x63C2);
    const auto withheld = failure_of<Stopped>([&] { client.transmit(reader, {select_command, wrong}); });
    CHECK(withheld.reason() == ErrorReason::PinKnownWrong && withheld.tries_left() == 2 && !stopped.tries_left());
    PinPadCommand pin_pad;
    pin_pad.apdu_template = verify;
    for (const Command& command : {Command(ControlCommand{1, {0x01}}), Command(GetAttribute{2}),
                                   Command(SetAttribute{3, {0x04}}), Command(pin_pad)}) {
        CHECK(failure_of<Error>([&] { client.transmit(reader, {command}); }).reason() == ErrorReason::NotImplemented);
    }
    ConnectOptions nowhere;
    nowhere.endpoint = "unix:/nowhere/at.sock";
    nowhere.connect_timeout = 0ms;
    CHECK(failure_of<NotRunning>([&] { Client other(nowhere); }).delivery() == Delivery::NotSent);
    nowhere.endpoint = "here";
    failure_of<InvalidRequest>([&] { Client other(nowhere); });
}

void sessions(const Client& client) {
    SessionOptions leave;
    leave.disposition = Disposition::Leave;
    auto session = client.open_session(reader, leave);
    CHECK(session.is_open() && session.atr().size() >= 2 && !session.insertion_id().empty());
    CHECK(session.transmit({verify}).results[0].status_word() == 0x9000);
    CHECK(session.reset().size() >= 2);
    CHECK(session.transmit({read_protected}).results[0].status_word() == 0x6982);
    CHECK(session.transmit({verify}).results[0].status_word() == 0x9000);
    session.close();
    CHECK(failure_of<Error>([&] { session.transmit({verify}); }).delivery() == Delivery::NotSent);
    CHECK(client.transmit(reader, {read_protected}).results[0].status_word() == 0x9000);
    { const auto dropped = client.open_session(reader, leave); }
    CHECK(client.transmit(reader, {read_protected}).results[0].status_word() == 0x6982);
}

void watches(const Client& client) {
    auto watch = client.watch();
    CHECK(!watch.is_connected() && std::holds_alternative<Connected>(*watch.next(30s)));
    while (watch.readers().size() < 2 || watch.readers().at(reader).state != ReaderState::Ready) {
        CHECK(watch.next(30s).has_value());
    }
    const std::string insertion = watch.readers().at(reader).insertion_id;
    client.transmit(reader, {ApduBytes::from_hex("80F0020004000000C8")});
    while (watch.readers().at(reader).state != ReaderState::Empty) CHECK(watch.next(30s).has_value());
    while (watch.readers().at(reader).state != ReaderState::Ready) CHECK(watch.next(30s).has_value());
    CHECK(watch.readers().at(reader).insertion_id != insertion);
    std::thread stopping([&] { watch.stop(); });
    while (watch.next(30s)) {
    }
    stopping.join();
    CHECK(watch.is_stopped());
}

void turns(const Client& client) {
    auto watch = client.watch_turn(reader);
    CHECK(watch.next(30s)->empty());
    auto session = client.open_session(reader);
    std::thread waiting([&] { client.transmit(reader, {select_command}); });
    std::vector<WaitingTurn> turns;
    while (turns.empty()) turns = watch.next(30s).value();
    const WaitingTurn& turn = turns.at(0);
    CHECK(turns.size() == 1 && turn.reader == reader && !turn.is_session && turn.turns_ahead_count == 1);
    CHECK(turn.arrive_time < turn.deadline_time && turn.holder && turn.holder->is_own && turn.holder->is_session);
    session.close();
    waiting.join();
    watch.stop();
    CHECK(!watch.next(30s) && watch.is_stopped());
    CHECK(failure_of<Error>([&] { client.watch_turn("readers/none").next(30s); }).code() == StatusCode::NotFound);
}

}  // namespace

int main() {
    values();
    const Client client;
    const Client copy = client;
    CHECK(copy.endpoint() == client.endpoint());
    units(copy);
    description(client);
    errors(client);
    sessions(client);
    watches(client);
    turns(client);
    std::cout << "the C++ face: done\n";
}
