// Waits for a card, selects its application and reads a record.
#include <cardbroker/cardbroker.h>

#include <iostream>

int main() {
    cardbroker::TransmitOptions options;
    options.wait_for_card = true;
    const auto select = cardbroker::ApduBytes::from_hex("00 A4 04 00 06 F0 43 41 52 44 01");
    const auto read = cardbroker::ApduBytes::from_hex("00 B2 01 04 10");
    const auto unit = cardbroker::Client().transmit("readers/simulated-reader-00", {select, read}, options);
    std::cout.write(reinterpret_cast<const char*>(unit.results[1].data.data()), 16) << '\n';
}
