// Waits for a card, selects its application and reads a record.
#include <cardbroker/cardbroker.h>

#include <iostream>
#include <string>

int main() try {
    cardbroker::TransmitOptions options;
    options.card = cardbroker::CardRequirement::Awaited;
    const auto select = cardbroker::ApduBytes::from_hex("00 A4 04 00 06 F0 43 41 52 44 01");
    const auto read = cardbroker::ApduBytes::from_hex("00 B2 01 04 10");
    const auto unit = cardbroker::Client().transmit("Simulated Reader 00", {select, read}, options);
    const auto& record = unit.results[1].data();
    std::cout << std::string(record.begin(), record.end()) << '\n';
} catch (const cardbroker::Error& error) {
    std::cerr << error.what() << " (" << error.reason() << ", " << error.delivery() << ")\n";
    return 1;
}
