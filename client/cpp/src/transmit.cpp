// Units of commands: what goes to a card together, and the repeats of one whose connection was lost.
#include <cardbroker/client.h>
#include <cardbroker/error.h>

#include <cstring>
#include <random>
#include <thread>

#include "connection.h"
#include "convert.h"
#include "failure.h"
#include "times.h"

namespace cardbroker {

namespace {

constexpr int repeats = 3;
constexpr std::chrono::milliseconds first_pause(100);

Transmitted attempt(Connection& connection, v1::TransmitRequest& request, const Times& times) {
    *request.mutable_wait_timeout() = to_wire(times.wait);
    check_length(request);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + times.deadline);
    connection.sign(context);
    v1::TransmitResponse response;
    const grpc::Status status = Stub(connection.connected(times.deadline)).Transmit(&context, request, &response);
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
    throw Error(std::string("no random numbers: ") + error.what(), Delivery::NotSent);
}

/// Twice as long each time, half fixed and half random, so that many clients do not come back at the same moment.
std::chrono::duration<double> pause(int repeat) {
    std::minstd_rand random(std::random_device{}());
    return first_pause * (1 << repeat) * std::uniform_real_distribution(0.5, 1.0)(random);
}

Transmitted with_repeats(Connection& connection, v1::TransmitRequest& request, Times times) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + times.deadline;
    std::exception_ptr first;
    try {
        return attempt(connection, request, times);
    } catch (const ConnectionLost&) {
        first = std::current_exception();
    }
    for (int repeat = 0; repeat < repeats; ++repeat) {
        std::this_thread::sleep_for(pause(repeat));
        times = cardbroker::times(times.wait, end - Clock::now());
        if (times.deadline <= Nanoseconds(0)) break;
        try {
            return attempt(connection, request, times);
        } catch (const ConnectionLost&) {
        } catch (const NotRunning&) {
        } catch (const Stopped&) {
            throw;
        } catch (const Error& error) {
            if (error.delivery() != Delivery::NotSent) throw;
            // True of this attempt, but the first one may have reached the card.
            break;
        }
    }
    std::rethrow_exception(first);
}

}  // namespace

Transmitted Client::transmit(const std::string& reader, const std::vector<Command>& commands,
                             const TransmitOptions& options) const {
    v1::TransmitRequest request;
    request.set_reader(reader);
    to_wire(commands, *request.mutable_commands());
    request.set_request_id(options.request_id.data(), options.request_id.size());
    request.set_if_insertion_id(options.if_insertion_id);
    request.set_if_state_tag(options.if_state_tag);
    request.set_wait_for_card(options.wait_for_card);
    if (options.start_reset) request.set_start(v1::CARD_START_RESET);
    request.set_raw(options.exchange == Exchange::Raw);

    const Times limits = times(options.wait_timeout, options.deadline);
    if (!options.repeatable) return attempt(*connection_, request, limits);
    if (request.request_id().empty()) request.set_request_id(fresh_id());
    return with_repeats(*connection_, request, limits);
}

}  // namespace cardbroker
