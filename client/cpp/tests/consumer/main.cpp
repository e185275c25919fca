// Uses the library without a broker, and without the headers of gRPC and protobuf.
#include <cardbroker/cardbroker.h>

#if defined(GRPCPP_GRPCPP_H) || defined(GOOGLE_PROTOBUF_MESSAGE_H__) || defined(GRPC_GRPC_H)
#error "the client's headers include those of gRPC or protobuf"
#endif

int main() try {
    cardbroker::Client(cardbroker::Endpoint("unix:/nonexistent/cardbroker.sock"));
    return 1;
} catch (const cardbroker::NotRunning&) {
    return 0;
}
