// The client: its connection to the broker, its queries, units, sessions and watches.
#pragma once

#include <cardbroker/broker.h>
#include <cardbroker/command.h>
#include <cardbroker/endpoint.h>
#include <cardbroker/reader.h>
#include <cardbroker/response.h>
#include <cardbroker/session.h>
#include <cardbroker/turn.h>
#include <cardbroker/watch.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cardbroker {

class Connection;

/// The options of a connection to the broker.
struct ConnectOptions {
    /// The key of the isolation group, 1–128 visible ASCII characters; empty: a group of its own.
    std::string group;
    /// The file with the token and the certificate for TCP endpoints, accessible to its owner only; read anew for every
    /// call and every connection. Empty: none.
    std::string token_file;
    /// The longest wait of a call without a connection for a broker that is away. Attempts follow every 100 ms; zero
    /// allows one attempt. One attempt gets at least 1 s.
    std::chrono::milliseconds connect_timeout{5000};

    /// The defaults, with the values of `CARDBROKER_GROUP` and `CARDBROKER_TOKEN_FILE`.
    static ConnectOptions from_environment();
};

/// The options of Client::transmit.
struct TransmitOptions : TurnOptions {
    /// The treatment of the card after the last command that runs. Default: it is left as it is.
    Disposition disposition = Disposition::Unspecified;
    /// The deadline of the whole call, from now, at most 48 h. Default: the wait and 150 s for the card. A unit that
    /// has begun runs on after it and its delivery is Unknown; the wait ends a little earlier, so that NotSent can
    /// still be reported.
    std::optional<std::chrono::nanoseconds> deadline;
    /// Makes a repeat safe: a second unit with the same id (16–64 random bytes) gets the outcome of the first.
    std::vector<std::uint8_t> request_id;
    /// Repeats the unit if the connection is lost before its outcome is known: at most 3 times, within the deadline and
    /// within half the time that the broker keeps outcomes (BrokerLimits::outcome_lifetime). All attempts have one
    /// `request_id` (a fresh random one if none is given), so that the broker executes the unit once, and one insertion
    /// (`if_insertion_id`, else the current one), so that a restarted broker refuses the repeat. Without a card there
    /// is no repeat.
    bool repeatable = false;
    /// Lets a repeat run on any card; a restarted broker may then execute the unit again.
    bool any_card = false;
};

/// A connection to the broker. Copies are cheap and share it; after a loss the next call reconnects. Threads may share
/// a client.
class Client {
public:
    /// Connects as `find` does.
    Client();
    /// Connects to the endpoint in the variable `CARDBROKER_ENDPOINT`, else to the first default place that works:
    /// `$XDG_RUNTIME_DIR/cardbroker/cardbroker.sock` (`/run/user/UID/…` if that variable is unset), then the system's
    /// `/run/cardbroker/cardbroker.sock`; for root only the latter. The client stays with it. A default place is used
    /// only if no user besides this one and root decides what is there.
    ///
    /// Throws InvalidRequest for an invalid variable, NotRunning if no broker answers in time.
    static Client find(ConnectOptions options = ConnectOptions::from_environment());
    /// Connects to the broker at `endpoint`.
    ///
    /// Throws NotRunning if no broker answers there in time, InvalidRequest for an invalid group or token file.
    explicit Client(Endpoint endpoint, ConnectOptions options = ConnectOptions::from_environment());

    /// The endpoint of the broker.
    const Endpoint& endpoint() const noexcept;

    /// The broker's version, features and limits, and this program's caller identity. With a connection it takes at
    /// most 10 s.
    BrokerInfo broker() const;

    /// All readers that this program may see, ordered by name. With a connection it takes at most 10 s.
    std::vector<Reader> readers() const;

    /// The current state of one reader. With a connection it takes at most 20 s.
    ///
    /// Throws Error (ErrorReason::ReaderNotFound, or InvalidRequest for a display name) if the reader does not exist.
    Reader reader(const ReaderName& reader) const;

    /// Runs 1–64 commands on the card in the reader as one unit: no other caller's command runs between them.
    ///
    /// Throws Stopped if the unit ended early, another Error if it did not run or its answer did not arrive.
    Transmitted transmit(const ReaderName& reader, const std::vector<Command>& commands,
                         const TransmitOptions& options = {}) const;

    /// Waits for the turn and takes a lease on the card in the reader.
    ///
    /// Throws Error with Delivery::NotSent.
    Session open_session(const ReaderName& reader, const SessionOptions& options = {}) const;

    /// Follows all readers; reconnects after a loss.
    Watch watch() const;

    /// Follows the waiting requests of this program, at all readers or at one.
    ///
    /// Throws Error if the broker does not answer.
    TurnWatch watch_turn() const;
    TurnWatch watch_turn(const ReaderName& reader) const;

private:
    explicit Client(std::shared_ptr<Connection> connection);

    std::shared_ptr<Connection> connection_;
};

}  // namespace cardbroker
