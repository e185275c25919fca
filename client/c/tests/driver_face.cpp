// The parts of the conformance kit's driver for the C++ face of the C interface; the rest is that of client/cpp/tests.
#include <stdexcept>

#include "driver_client.h"
#include "driver_order.h"

namespace cardbroker::driver {

Client connect(const std::string& endpoint, ConnectOptions options) {
    options.endpoint = endpoint;
    return Client(options);
}

void set_outcome(const CommandResult& result, v1::CommandResult& wire) {
    const std::string data(result.data().begin(), result.data().end());
    switch (result.kind) {
        case CARDBROKER_ANSWER_KIND_APDU: {
            v1::ApduResult& apdu = *wire.mutable_apdu();
            apdu.set_data(data);
            apdu.set_status_word(result.status_word());
            apdu.set_status_word_source(static_cast<v1::StatusWordSource>(result.status_word_source));
            apdu.set_get_response_count(static_cast<std::int32_t>(result.get_response_count));
            break;
        }
        case CARDBROKER_ANSWER_KIND_CONTROL:
            wire.mutable_control()->set_data(data);
            break;
        case CARDBROKER_ANSWER_KIND_ATTRIBUTE:
            wire.mutable_attribute()->set_value(data);
            break;
        case CARDBROKER_ANSWER_KIND_PIN_PAD:
            wire.mutable_pin_pad()->set_status_word(result.status_word());
            break;
    }
}

// tests/conformance/lacks.rs lists the missing operations.
std::string run_own(const std::string& operation, const Order&, Session*) {
    throw std::invalid_argument("no such operation: " + operation);
}

}  // namespace cardbroker::driver
