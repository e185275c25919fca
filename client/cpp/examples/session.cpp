// Verifies the simulated card's PIN and reads the file behind it, if the card accepts the PIN.
#include <cardbroker/cardbroker.h>

#include <iostream>
#include <string>

int main() try {
    const cardbroker::Client client;
    const auto verify = cardbroker::ApduBytes::from_hex("00 20 00 80 08 31 32 33 34 35 36 37 38");
    const auto read = cardbroker::ApduBytes::from_hex("00 B0 81 00 20");

    auto session = client.open_session("Simulated Reader 00");
    // Without `close` the session ends at once, and the card is reset.
    if (session.transmit({verify}).results[0].status_word() != 0x9000) return 1;
    const auto content = session.transmit({read}).results[0].data();
    session.close();

    std::cout << std::string(content.begin(), content.end()) << '\n';
} catch (const cardbroker::Error& error) {
    std::cerr << error.what() << " (" << error.reason() << ", " << error.delivery() << ")\n";
    return 1;
}
