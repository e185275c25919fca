// The connection to the broker, and what can be asked over it.
#pragma once

#include <cardbroker/command.h>
#include <cardbroker/endpoint.h>
#include <cardbroker/reader.h>
#include <cardbroker/response.h>
#include <cardbroker/session.h>
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
    /// The isolation group, printable ASCII; empty to be a group of one's own.
    std::string group;
    /// A file with the token for `http://` endpoints, read anew for every call; empty for none.
    std::string token_file;
    /// How long one attempt to connect may take.
    std::chrono::milliseconds connect_timeout{5000};

    /// The defaults, with what `CARDBROKER_GROUP` and `CARDBROKER_TOKEN_FILE` say.
    static ConnectOptions from_environment();
};

/// How a unit is run.
struct TransmitOptions {
    /// How long to wait for the turn, at most 24 h; zero means now or never. Shortened where `deadline` asks for it.
    std::chrono::nanoseconds wait_timeout = std::chrono::seconds(30);
    /// When to give up on the whole call, from now, at most 48 h. Default: the wait and 150 s for the card. A unit that
    /// has begun then goes on without this program and its fate is unknown; the waiting ends a little earlier, so that
    /// "not sent" can still be told.
    std::optional<std::chrono::nanoseconds> deadline;
    /// Waits, as long as `wait_timeout`, for a usable card instead of failing without one.
    bool wait_for_card = false;
    /// Whether the broker fetches and corrects answers.
    Exchange exchange = Exchange::Completed;
    /// Resets the card (warm) before the first command.
    bool start_reset = false;
    /// Fails, not sent, unless the card is still in this insertion (Reader::insertion_id). Empty: any.
    std::string if_insertion_id;
    /// Fails, not sent, if anybody used or reset the card since (Transmitted::state_tag). Empty: any.
    std::string if_state_tag;
    /// Makes a repeat safe: a second unit with the same id (16–64 bytes, random) gets the outcome of the first.
    std::vector<std::uint8_t> request_id;
    /// Repeats the unit if the connection is lost before the outcome is known: at most 3 times, within the deadline,
    /// and under one `request_id` (a fresh random one if none is given), so that the broker executes it once and tells
    /// the first outcome again. A broker that was itself restarted in between has forgotten it: with `if_insertion_id`
    /// it refuses the repeat, without it may execute the unit again.
    bool repeatable = false;
};

/// A connection to the broker. Copies are cheap and share it; a lost connection is made anew by the next call. May be
/// used by several threads at once.
class Client {
public:
    /// Connects where the environment says, or else to the default socket.
    ///
    /// Throws Error for a wrong variable, NotRunning if nobody answers within 5 s.
    Client();
    /// Connects to the broker at `endpoint`.
    ///
    /// Throws NotRunning if nobody answers there in time, Error for a group or token file that cannot be used.
    explicit Client(Endpoint endpoint, ConnectOptions options = ConnectOptions::from_environment());

    /// Where the broker is.
    const Endpoint& endpoint() const noexcept;

    /// All readers that this program may see, ordered by name. Takes 10 s at most.
    std::vector<Reader> readers() const;

    /// Runs 1–64 commands on the card in the reader `readers/{id}` as one unit: no other program's command falls
    /// between.
    ///
    /// Throws Stopped if some commands were answered but not all, another Error if none was.
    Transmitted transmit(const std::string& reader, const std::vector<Command>& commands,
                         const TransmitOptions& options = {}) const;

    /// Waits for the turn and takes the card in the reader `readers/{id}`.
    ///
    /// Throws Error; no command was sent.
    Session open_session(const std::string& reader, const SessionOptions& options = {}) const;

    /// Follows all readers, through losses of the connection.
    Watch watch() const;

private:
    std::shared_ptr<Connection> connection_;
};

}  // namespace cardbroker
