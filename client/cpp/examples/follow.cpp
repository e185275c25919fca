// Prints every reader and each change of its state, until a minute passes without an event.
#include <cardbroker/cardbroker.h>

#include <chrono>
#include <iostream>
#include <variant>

int main() try {
    const cardbroker::Client client;
    auto watch = client.watch();
    while (const auto event = watch.next(std::chrono::minutes(1))) {
        if (const auto* updated = std::get_if<cardbroker::Updated>(&*event)) {
            std::cout << updated->reader.name << ' ' << updated->reader.state << std::endl;
        }
    }
} catch (const cardbroker::Error& error) {
    std::cerr << error.what() << " (" << error.reason() << ", " << error.delivery() << ")\n";
    return 1;
}
