// The watch of all readers, which reconnects after a loss.
#pragma once

#include <cardbroker/error.h>
#include <cardbroker/reader.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

namespace cardbroker {

class Connection;

/// The broker reports its readers, for the first time or again; events for the differences follow.
struct Connected {};

/// The connection was lost, or no broker answered within the connect timeout. The watch reconnects by itself, although
/// attempts after a permanent error are likely to fail too. Watch::readers keeps the last known readers.
struct Disconnected {
    Error error;
};

/// A reader is new or has changed; `reader` is its latest state.
struct Updated {
    Reader reader;
};

/// The broker no longer has a reader; `reader` is its last state.
struct Removed {
    Reader reader;
};

/// One event of a watch, returned by Watch::next.
using WatchEvent = std::variant<Connected, Disconnected, Updated, Removed>;

/// Follows all readers; made by Client::watch. It has no thread: it works during `next`, which reports changes between
/// two calls later and only the latest state of each reader. For one thread at a time, except `stop`.
class Watch {
public:
    Watch(Watch&&) noexcept;
    Watch& operator=(Watch&&) noexcept;
    ~Watch();

    /// The next event; empty if none comes within `timeout` or the watch was stopped.
    ///
    /// Heartbeats are no events. 90 s of silence count as a lost connection. The pauses between attempts to connect
    /// grow from 0.1 s to 5 s.
    std::optional<WatchEvent> next(std::chrono::nanoseconds timeout);

    /// The readers by name, as last reported by the broker; empty before the first Connected.
    const std::map<std::string, Reader>& readers() const noexcept;
    /// Whether the stream is open, so that `readers` is current.
    bool is_connected() const noexcept;

    /// Ends the watch: a waiting `next` and every later one returns nothing. Any thread may call it.
    void stop() noexcept;
    /// Whether the watch was stopped.
    bool is_stopped() const noexcept;

private:
    friend class Client;
    class State;
    explicit Watch(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace cardbroker
