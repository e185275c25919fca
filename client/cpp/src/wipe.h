// Wipes the APDU bytes of messages after a call, because protobuf frees them as they are.
#pragma once

#include <cstddef>

#include "cardbroker/v1/session.pb.h"
#include "cardbroker/v1/transmit.pb.h"

namespace cardbroker {

/// Sets memory to zero before it is freed; unlike memset, the compiler may not remove this call.
void wipe(void* bytes, std::size_t size) noexcept;

void wipe(v1::TransmitRequest& request) noexcept;
void wipe(v1::TransmitResponse& response) noexcept;
void wipe(v1::OpenSessionRequest& request) noexcept;

/// Wipes a message at the end of its scope, even after an exception.
template <typename Message>
class WipedAtEnd {
public:
    explicit WipedAtEnd(Message& message) : message_(message) {}
    WipedAtEnd(const WipedAtEnd&) = delete;
    WipedAtEnd& operator=(const WipedAtEnd&) = delete;
    ~WipedAtEnd() { wipe(message_); }

private:
    Message& message_;
};

}  // namespace cardbroker
