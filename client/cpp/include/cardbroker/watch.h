// Following the readers through losses of the connection.
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

/// The broker tells the state of its readers, for the first time or again; what differs from before follows.
struct Connected {};

/// The connection was lost, or could not be made within the connect timeout. The watch keeps trying by itself, though
/// with an error that is permanent there is little hope, and Watch::readers keeps what was known last.
struct Disconnected {
    Error error;
};

/// A reader is new or has changed; this is its latest state.
struct Updated {
    Reader reader;
};

/// A reader is gone; this was its last state.
struct Removed {
    Reader reader;
};

/// One thing that happened, as told by Watch::next.
using WatchEvent = std::variant<Connected, Disconnected, Updated, Removed>;

/// Follows all readers; made by Client::watch. Has no thread: it works while `next` is called, and what happens in
/// between is told later, the latest state of each reader only. For one thread at a time, but for `stop`.
class Watch {
public:
    Watch(Watch&&) noexcept;
    Watch& operator=(Watch&&) noexcept;
    ~Watch();

    /// The next thing that happens, or nothing if that takes longer than `timeout` or the watch was stopped.
    ///
    /// Heartbeats are not told. Silence of 90 s counts as a lost connection. Attempts to connect are 0.1 s apart at
    /// first and 5 s at most.
    std::optional<WatchEvent> next(std::chrono::nanoseconds timeout);

    /// The readers by name, as last told by the broker; empty before the first Connected.
    const std::map<std::string, Reader>& readers() const noexcept;
    /// Whether `readers` is up to date as far as anyone can tell.
    bool is_connected() const noexcept;

    /// Ends the watch: `next`, also one that waits, returns nothing from now on. From any thread.
    void stop() noexcept;
    /// Whether it was stopped.
    bool is_stopped() const noexcept;

private:
    friend class Client;
    class State;
    explicit Watch(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace cardbroker
