// Uses the library without a broker: the headers must do without those of gRPC and protobuf.
#include <cardbroker/cardbroker.h>

#if defined(GRPCPP_GRPCPP_H) || defined(GOOGLE_PROTOBUF_MESSAGE_H__) || defined(GRPC_GRPC_H)
#error "the client's headers show what it is made of"
#endif

int main() try {
    cardbroker::Client(cardbroker::Endpoint("unix:/nonexistent/cardbroker.sock"));
    return 1;
} catch (const cardbroker::NotRunning&) {
    return 0;
}
