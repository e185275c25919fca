// Lists the readers and selects an application with protoc's generated code alone.
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <iostream>

#include "cardbroker/v1/service.grpc.pb.h"

int main(int, char** arguments) {
    grpc::ChannelArguments options;
    options.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    const auto channel =
        grpc::CreateCustomChannel(std::getenv("CARDBROKER_ENDPOINT"), grpc::InsecureChannelCredentials(), options);
    const auto broker = cardbroker::v1::CardBrokerService::NewStub(channel);

    grpc::ClientContext listing, transmitting;
    cardbroker::v1::ListReadersResponse listed;
    cardbroker::v1::TransmitRequest unit;
    cardbroker::v1::TransmitResponse answered;
    unit.set_reader(arguments[1]);
    unit.add_commands()->mutable_apdu()->set_bytes("\x00\xA4\x04\x00\x06\xF0\x43\x41\x52\x44\x01", 11);
    if (!broker->ListReaders(&listing, {}, &listed).ok() || !broker->Transmit(&transmitting, unit, &answered).ok()) {
        return 1;
    }
    std::cout << "{\"readers\": " << listed.readers_size()
              << ", \"status_word\": " << answered.results(0).apdu().status_word() << "}\n";
}
