// The client wipes its copies of APDU bytes.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <string>

#include "broker.h"
#include "fake_broker.h"

static std::atomic<std::size_t> wiped_bytes = 0;

// Replaces the C library's function, so that a test sees the wiped bytes.
extern "C" void explicit_bzero(void* bytes, std::size_t size) noexcept {
    std::memset(bytes, 0, size);
    wiped_bytes += size;
}

namespace cardbroker::tests {

namespace {

constexpr std::size_t command_bytes = 13;
constexpr std::size_t answer_bytes = 20;

std::vector<Command> one_command() { return {ApduBytes(std::vector<std::uint8_t>(command_bytes, 0x5A))}; }

void add_answer(google::protobuf::RepeatedPtrField<v1::CommandResult>& results) {
    results.Add()->mutable_apdu()->set_data(std::string(answer_bytes, 'A'));
}

}  // namespace

TEST_CASE("destroyed and replaced APDU bytes are wiped once") {
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

TEST_CASE("the messages of a unit are wiped, even after a failure") {
    FakeBroker broker;
    broker.answer = [](std::size_t number, v1::TransmitResponse& response, grpc::ServerContext&) {
        if (number > 0) return refused(v1::ERROR_REASON_DENIED, v1::DELIVERY_NOT_SENT, grpc::PERMISSION_DENIED);
        add_answer(*response.mutable_results());
        return grpc::Status::OK;
    };
    const Client client = broker.client();
    const std::vector<Command> commands = one_command();
    wiped_bytes = 0;
    const Transmitted answered = client.transmit(reader, commands);
    CHECK(answered.results.at(0).data().size() == answer_bytes);
    CHECK(wiped_bytes == command_bytes + answer_bytes);
    wiped_bytes = 0;
    CHECK_THROWS_AS(client.transmit(reader, commands), Error);
    CHECK(wiped_bytes == command_bytes);
}

TEST_CASE("the messages of a session are wiped") {
    FakeBroker broker;
    broker.session = [](grpc::ServerReaderWriter<v1::OpenSessionResponse, v1::OpenSessionRequest>& stream) {
        v1::OpenSessionRequest request;
        stream.Read(&request);
        v1::OpenSessionResponse response;
        response.mutable_opened();
        stream.Write(response);
        stream.Read(&request);
        response.mutable_transmitted()->set_id(request.transmit().id());
        add_answer(*response.mutable_transmitted()->mutable_results());
        stream.Write(response);
        stream.Read(&request);
        return grpc::Status::OK;
    };
    const Client client = broker.client();
    Session session = client.open_session(reader);
    const std::vector<Command> commands = one_command();
    wiped_bytes = 0;
    const Transmitted answered = session.transmit(commands);
    CHECK(answered.results.at(0).data().size() == answer_bytes);
    CHECK(wiped_bytes == command_bytes + answer_bytes);
    session.abort();
}

}  // namespace cardbroker::tests
