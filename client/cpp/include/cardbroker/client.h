// The connection to the broker, and what can be asked over it.
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

/// How to connect.
struct ConnectOptions {
    /// The isolation group, 1–128 visible ASCII characters; empty to be a group of one's own.
    std::string group;
    /// A file with the token for `http://` endpoints, which nobody but this user may read; read anew for every call.
    /// Empty for none.
    std::string token_file;
    /// How long a call without a connection waits for a broker that is not there (yet). It asks again every 100 ms.
    /// With zero it asks once; one attempt gets at least 1 s.
    std::chrono::milliseconds connect_timeout{5000};

    /// The defaults, with what `CARDBROKER_GROUP` and `CARDBROKER_TOKEN_FILE` say.
    static ConnectOptions from_environment();
};

/// How a unit is run.
struct TransmitOptions : TurnOptions {
    /// What happens to the card after the last command that runs. Default: it is left as it is.
    Disposition disposition = Disposition::Unspecified;
    /// When to give up on the whole call, from now, at most 48 h. Default: the wait and 150 s for the card. A unit that
    /// has begun then goes on without this program and its fate is unknown; the waiting ends a little earlier, so that
    /// "not sent" can still be told.
    std::optional<std::chrono::nanoseconds> deadline;
    /// Makes a repeat safe: a second unit with the same id (16–64 bytes, random) gets the outcome of the first.
    std::vector<std::uint8_t> request_id;
    /// Repeats the unit if the connection is lost before the outcome is known: at most 3 times, within the deadline and
    /// half of the time for which the broker keeps outcomes, under one `request_id` (a fresh random one if none is
    /// given) and on the same insertion of the card, so that the broker executes it once and tells the first outcome
    /// again. The broker is asked for that time before, and without an `if_insertion_id` also for the insertion; if
    /// there is no card yet, the unit is not repeated.
    bool repeat = false;
    /// A repeat may run on any card. A broker that was restarted in between has forgotten the outcome and may execute
    /// the unit again.
    bool any_card = false;
};

/// A connection to the broker. Copies are cheap and share it; a lost connection is made anew by the next call. May be
/// used by several threads at once.
class Client {
public:
    /// Connects where the environment says, or else to the default socket.
    ///
    /// Throws InvalidRequest for a wrong variable, NotRunning if nobody answers within 5 s.
    Client();
    /// Connects to the broker at `endpoint`.
    ///
    /// Throws NotRunning if nobody answers there in time, InvalidRequest for a group or token file that cannot be used.
    explicit Client(Endpoint endpoint, ConnectOptions options = ConnectOptions::from_environment());

    /// Where the broker is.
    const Endpoint& endpoint() const noexcept;

    /// What the broker is and can do, its limits, and how it sees this program. Takes 10 s at most with a connection.
    BrokerInfo broker() const;

    /// All readers that this program may see, ordered by name. Takes 10 s at most with a connection.
    std::vector<Reader> readers() const;

    /// One reader, with the state that it is in now. Takes 20 s at most with a connection.
    ///
    /// Throws Error: there is no such reader (ErrorReason::ReaderNotFound, or InvalidRequest for a display name).
    Reader reader(const ReaderName& reader) const;

    /// Runs 1–64 commands on the card in the reader as one unit: no other program's command falls between.
    ///
    /// Throws Stopped if some commands were answered but not all, another Error if none was.
    Transmitted transmit(const ReaderName& reader, const std::vector<Command>& commands,
                         const TransmitOptions& options = {}) const;

    /// Waits for the turn and takes the card in the reader.
    ///
    /// Throws Error; no command was sent.
    Session open_session(const ReaderName& reader, const SessionOptions& options = {}) const;

    /// Follows all readers, through losses of the connection.
    Watch watch() const;

    /// Follows the waiting requests of this program, at all readers or at one.
    ///
    /// Throws Error if the broker cannot be asked.
    TurnWatch watch_turn() const;
    TurnWatch watch_turn(const ReaderName& reader) const;

private:
    std::shared_ptr<Connection> connection_;
};

}  // namespace cardbroker
