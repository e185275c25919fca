// Prints the readers and each change, until nothing has changed for a minute.
#include <cardbroker.hpp>

#include <iostream>

int main() try {
    const cardbroker::Client client;
    auto watch = client.watch();
    while (const auto event = watch.next(std::chrono::minutes(1))) {
        if (const auto* updated = std::get_if<cardbroker::Updated>(&*event)) {
            std::cout << updated->reader.name << ' ' << updated->reader.state << std::endl;
        }
    }
} catch (const cardbroker::Error& error) {
    std::cerr << error.what() << " (" << error.delivery() << ")\n";
    return 1;
}
