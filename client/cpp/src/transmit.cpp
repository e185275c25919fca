// Units of commands: the request, its deadline, and its repeats after a lost connection.
#include <cardbroker/client.h>
#include <cardbroker/error.h>

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include "connection.h"
#include "convert.h"
#include "errors.h"
#include "queries.h"
#include "random.h"
#include "times.h"
#include "wipe.h"

namespace cardbroker {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int repeats = 3;
constexpr std::chrono::milliseconds first_pause(100);
constexpr std::size_t request_id_bytes = 16;

/// A unit and its limits.
struct Unit {
    v1::TransmitRequest request;
    std::optional<Nanoseconds> wait;
    Clock::time_point end;
    /// The time after the start of the first attempt within which repeats may begin; absent: no repeats.
    std::optional<Clock::duration> repeat_window;
};

void set_wait(v1::TransmitRequest& request, std::optional<Nanoseconds> wait) {
    if (wait) *request.mutable_turn()->mutable_wait_timeout() = to_wire(*wait);
}

/// Sends the unit once, before `latest`.
Transmitted attempt(Connection& connection, Unit& unit, Clock::time_point latest) {
    const Line line = connection.connected(latest);
    const auto now = Clock::now();
    if (now >= latest) throw deadline_passed().not_sent();
    // The time to connect must not use up the time in which NotSent arrives.
    const Times left = times(unit.wait, unit.end - now);
    set_wait(unit.request, left.wait);
    check_length(unit.request);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + left.deadline);
    connection.sign(context, line);
    v1::TransmitResponse response;
    const WipedAtEnd wiping(response);
    const grpc::Status status = Stub(line.channel).Transmit(&context, unit.request, &response);
    if (!status.ok()) std::rethrow_exception(failure(status, context));
    return from_wire(response);
}

/// A fresh id that cannot be guessed: 128 random bits.
std::string fresh_id() try { return random_bytes(request_id_bytes); } catch (const std::runtime_error& error) {
    throw Error(own_failure(error.what(), Delivery::NotSent, StatusCode::Internal));
}

/// The pause before a repeat: each twice as long, half fixed and half random, so that many clients do not return at the
/// same moment.
std::chrono::duration<double> pause(int repeat) {
    std::minstd_rand random(std::random_device{}());
    return first_pause * (1 << repeat) * std::uniform_real_distribution(0.5, 1.0)(random);
}

/// Allows repeats and makes them safe: one id, only while the broker is sure to know it, and, unless any card is
/// allowed, the current insertion.
void prepare_repeats(Connection& connection, Unit& unit, bool any_card) {
    v1::TransmitRequest& request = unit.request;
    if (request.request_id().empty()) request.set_request_id(fresh_id());
    const auto lifetime = from_wire(get_broker(connection, unit.end).limits().outcome_lifetime());
    if (!any_card && request.turn().if_insertion_id().empty()) {
        const std::string insertion = get_reader(connection, request.reader(), unit.end).insertion_id();
        if (insertion.empty()) return;
        request.mutable_turn()->set_if_insertion_id(insertion);
    }
    // Half of the lifetime: a repeat takes time to arrive, and the outcome may be older than the loss of the
    // connection.
    unit.repeat_window = std::chrono::duration_cast<Clock::duration>(lifetime / 2);
}

Transmitted with_repeats(Connection& connection, Unit& unit) {
    // Counts from before the first attempt connects, so that no repeat comes after the outcome was dropped.
    const auto latest = std::min(unit.end, Clock::now() + *unit.repeat_window);
    std::exception_ptr first;
    try {
        return attempt(connection, unit, unit.end);
    } catch (const ConnectionLost&) {
        first = std::current_exception();
    }
    for (int repeat = 0; repeat < repeats; ++repeat) {
        const auto next = Clock::now() + std::chrono::duration_cast<Clock::duration>(pause(repeat));
        if (next >= latest) break;
        std::this_thread::sleep_until(next);
        try {
            return attempt(connection, unit, latest);
        } catch (const ConnectionLost&) {
        } catch (const NotRunning&) {
        } catch (const Stopped&) {
            throw;
        } catch (const Error& error) {
            if (error.delivery() != Delivery::NotSent) throw;
            // True of this attempt, but the first attempt may have reached the card.
            break;
        }
    }
    std::rethrow_exception(first);
}

}  // namespace

Transmitted Client::transmit(const ReaderName& reader, const std::vector<Command>& commands,
                             const TransmitOptions& options) const {
    const Times limits = times(options.wait_timeout, options.deadline);
    Unit unit;
    const WipedAtEnd wiping(unit.request);
    unit.wait = options.wait_timeout;
    unit.end = Clock::now() + std::chrono::duration_cast<Clock::duration>(limits.deadline);
    v1::TransmitRequest& request = unit.request;
    to_wire(commands, *request.mutable_commands());
    to_wire(options, request);
    request.set_request_id(options.request_id.data(), options.request_id.size());
    request.set_disposition(static_cast<v1::Disposition>(options.disposition));
    check_length(request);
    request.set_reader(resolve(*connection_, reader, unit.end));
    if (options.repeatable) prepare_repeats(*connection_, unit, options.any_card);
    return unit.repeat_window ? with_repeats(*connection_, unit) : attempt(*connection_, unit, unit.end);
}

}  // namespace cardbroker
