// Units of commands: what goes to a card together, and the repeats of one whose connection was lost.
#include <cardbroker/client.h>
#include <cardbroker/error.h>

#include <random>
#include <thread>
#include <utility>

#include "connection.h"
#include "convert.h"
#include "errors.h"
#include "queries.h"
#include "times.h"

namespace cardbroker {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int repeats = 3;
constexpr std::chrono::milliseconds first_pause(100);

/// A unit on its way, and its limits.
struct Unit {
    v1::TransmitRequest request;
    std::optional<Nanoseconds> wait;
    Clock::time_point end;
};

void set_wait(v1::TransmitRequest& request, std::optional<Nanoseconds> wait) {
    if (wait) *request.mutable_turn()->mutable_wait_timeout() = to_wire(*wait);
}

Transmitted attempt(Connection& connection, Unit& unit) {
    const auto channel = connection.connected(unit.end - Clock::now());
    // What connecting took must not use up the room in which "not sent" comes back.
    const Times left = times(unit.wait, unit.end - Clock::now());
    set_wait(unit.request, left.wait);
    check_length(unit.request);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + left.deadline);
    connection.sign(context);
    v1::TransmitResponse response;
    const grpc::Status status = Stub(channel).Transmit(&context, unit.request, &response);
    if (!status.ok()) std::rethrow_exception(failure(status, context));
    return from_wire(response);
}

/// An id that nobody has used before and nobody can guess: 128 random bits.
std::string fresh_id() try {
    std::random_device random;
    std::uint32_t id[4];
    for (std::uint32_t& part : id) part = random();
    return std::string(reinterpret_cast<const char*>(id), sizeof id);
} catch (const std::runtime_error& error) {
    throw Error(
        own_failure(std::string("no random numbers: ") + error.what(), Delivery::NotSent, StatusCode::Internal));
}

/// Twice as long each time, half fixed and half random, so that many clients do not come back at the same moment.
std::chrono::duration<double> pause(int repeat) {
    std::minstd_rand random(std::random_device{}());
    return first_pause * (1 << repeat) * std::uniform_real_distribution(0.5, 1.0)(random);
}

/// Makes a repeat safe: one id, and unless any card will do the insertion that is there now. Returns whether it is
/// safe.
bool prepare_repeats(Connection& connection, v1::TransmitRequest& request, bool any_card) {
    if (request.request_id().empty()) request.set_request_id(fresh_id());
    if (any_card || !request.turn().if_insertion_id().empty()) return true;
    const std::string insertion = get_reader(connection, request.reader()).insertion_id();
    if (insertion.empty()) return false;
    request.mutable_turn()->set_if_insertion_id(insertion);
    return true;
}

Transmitted with_repeats(Connection& connection, Unit& unit) {
    std::exception_ptr first;
    try {
        return attempt(connection, unit);
    } catch (const ConnectionLost&) {
        first = std::current_exception();
    }
    for (int repeat = 0; repeat < repeats; ++repeat) {
        std::this_thread::sleep_for(pause(repeat));
        if (Clock::now() >= unit.end) break;
        try {
            return attempt(connection, unit);
        } catch (const ConnectionLost&) {
        } catch (const NotRunning&) {
        } catch (const Stopped&) {
            throw;
        } catch (const Error& error) {
            if (error.delivery() != Delivery::NotSent) throw;
            // True of this attempt, but the first one may have reached the card. People must decide.
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
    unit.wait = options.wait_timeout;
    unit.end = Clock::now() + std::chrono::duration_cast<Clock::duration>(limits.deadline);
    v1::TransmitRequest& request = unit.request;
    to_wire(commands, *request.mutable_commands());
    to_wire(options, request);
    request.set_request_id(options.request_id.data(), options.request_id.size());
    request.set_disposition(static_cast<v1::Disposition>(options.disposition));
    check_length(request);
    request.set_reader(resolve(*connection_, reader));
    const bool repeated = options.repeat && prepare_repeats(*connection_, request, options.any_card);
    return repeated ? with_repeats(*connection_, unit) : attempt(*connection_, unit);
}

}  // namespace cardbroker
