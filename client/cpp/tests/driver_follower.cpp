// The driver's watches, each in a thread of its own: the readers, and its waiting requests.
#include "driver_follower.h"

#include "driver_answers.h"

namespace cardbroker::driver {

namespace {

constexpr std::chrono::hours long_time(24);

std::string listed(const Watch& watch) {
    v1::ListReadersResponse list;
    for (const auto& [name, reader] : watch.readers()) *list.add_readers() = message(reader);
    return json(list);
}

}  // namespace

void follow(Watch& watch, Follower& follower) {
    std::string last;
    while (auto event = watch.next(long_time)) {
        if (const auto* lost = std::get_if<Disconnected>(&*event)) {
            if (lost->error.is_permanent()) follower.tell(failed("failed", lost->error));
            continue;
        }
        while (watch.next(std::chrono::milliseconds(0))) {
        }
        std::string now = listed(watch);
        if (now != last) follower.tell(ok(now));
        last = std::move(now);
    }
}

void follow(TurnWatch& watch, Follower& follower) {
    for (bool is_over = false; !is_over;) {
        std::string line = answer([&] {
            v1::WatchTurnResponse turns;
            const auto waiting = watch.next(long_time);
            is_over = !waiting;
            for (const WaitingTurn& turn : waiting.value_or(std::vector<WaitingTurn>())) {
                *turns.add_waiting() = message(turn);
            }
            return json(turns);
        });
        is_over = is_over || line.rfind("{\"ok\"", 0) != 0;
        follower.tell(std::move(line));
    }
}

}  // namespace cardbroker::driver
