// The C++17 face of the C interface: header-only, with the names of the client in client/cpp, without gRPC.
#pragma once

#include <cardbroker_broker.hpp>
#include <cardbroker_turns.hpp>

#include <map>

namespace cardbroker {

/// The options of a connection to the broker. Empty texts mean the values of the environment.
struct ConnectOptions {
    /// `unix:/path`, `https://HOST:PORT`, `http://HOST:PORT` on this machine, or `tcp:auto`.
    std::string endpoint;
    /// The key of the isolation group, 1–128 visible ASCII characters.
    std::string group;
    /// The file with the token and the certificate for TCP endpoints, accessible to its owner only.
    std::string token_file;
    /// The longest wait of a call for a broker that is away; zero allows one attempt.
    std::chrono::milliseconds connect_timeout{5000};
};

/// The broker reports its readers, for the first time or again; events for the differences follow.
struct Connected {};
/// The connection was lost, or no broker answered within the connect timeout. The watch reconnects by itself.
struct Disconnected {
    Error error;
};
/// A reader is new or has changed.
struct Updated {
    Reader reader;
};
/// The broker no longer has a reader; `reader` is its last state.
struct Removed {
    Reader reader;
};
using WatchEvent = std::variant<Connected, Disconnected, Updated, Removed>;

/// Follows all readers; made by Client::watch. For one thread at a time, except `stop`.
class Watch {
public:
    /// The next event; empty if none comes within `timeout` or the watch was stopped.
    std::optional<WatchEvent> next(std::chrono::milliseconds timeout) {
        const auto event = detail::call<Event>(cardbroker_watch_next, watch_.get(),
                                               static_cast<std::int64_t>(detail::milliseconds(timeout)));
        switch (cardbroker_event_kind(event.get())) {
            case CARDBROKER_EVENT_KIND_CONNECTED:
                is_connected_ = true;
                return Connected{};
            case CARDBROKER_EVENT_KIND_DISCONNECTED:
                is_connected_ = false;
                return Disconnected{Error(detail::failure(cardbroker_event_error(event.get())))};
            case CARDBROKER_EVENT_KIND_UPDATED: {
                Reader reader = detail::reader(cardbroker_event_reader(event.get()));
                readers_[reader.name] = reader;
                return Updated{std::move(reader)};
            }
            case CARDBROKER_EVENT_KIND_REMOVED: {
                Reader reader = detail::reader(cardbroker_event_reader(event.get()));
                readers_.erase(reader.name);
                return Removed{std::move(reader)};
            }
            default:
                return std::nullopt;
        }
    }

    /// The readers by name, after the events that `next` has returned.
    const std::map<std::string, Reader>& readers() const noexcept { return readers_; }
    /// Whether the last of Connected and Disconnected was Connected.
    bool is_connected() const noexcept { return is_connected_; }

    /// Ends the watch: a waiting `next` and every later one returns nothing. Any thread may call it.
    void stop() noexcept { cardbroker_watch_stop(watch_.get()); }
    bool is_stopped() const noexcept { return cardbroker_watch_is_stopped(watch_.get()); }

private:
    friend class Client;
    using Event = detail::Owned<cardbroker_event, cardbroker_event_free>;
    using Handle = detail::Owned<cardbroker_watch, cardbroker_watch_free>;
    explicit Watch(Handle watch) : watch_(std::move(watch)) {}

    Handle watch_;
    std::map<std::string, Reader> readers_;
    bool is_connected_ = false;
};

/// The effect of earlier failures on a message of a session; cardbroker.h documents it.
enum class Restart : int {
    Automatic = CARDBROKER_RESTART_AUTOMATIC,
    Now = CARDBROKER_RESTART_NOW,
    Never = CARDBROKER_RESTART_NEVER,
};

/// An exclusive lease on a card, made by Client::open_session: no command of another caller reaches the card. Several
/// threads may use it at once. `close` ends it in order; the destructor ends it at once, and the card is reset.
class Session {
public:
    /// Runs 1–64 commands in order up to the first stop. No command of another call runs between them.
    ///
    /// Throws Stopped if the commands ended early, another Error if they did not run or their answer did not arrive.
    Transmitted transmit(const std::vector<Command>& commands, Restart restart = Restart::Automatic) {
        const auto list = detail::commands(commands);
        const auto answers = detail::call<detail::OwnedAnswers>(cardbroker_session_transmit, session_.get(), list.get(),
                                                                static_cast<int>(restart));
        return detail::transmitted(answers.get());
    }

    /// Resets the card; Cold cuts its power. Returns the new answer to reset.
    std::vector<std::uint8_t> reset(CardReset reset = CardReset::Warm, Restart restart = Restart::Automatic) {
        std::vector<std::uint8_t> atr(33);
        std::size_t length = 0;
        cardbroker_error* error = nullptr;
        cardbroker_session_reset(session_.get(), static_cast<int>(reset), static_cast<int>(restart), atr.data(),
                                 atr.size(), &length, &error);
        const detail::OwnedError owned(error);
        if (owned) detail::fail(owned.get());
        atr.resize(length < atr.size() ? length : atr.size());
        return atr;
    }

    /// Ends the session in order and waits for the broker's confirmation.
    void close() {
        cardbroker_error* error = nullptr;
        cardbroker_session_close(session_.get(), &error);
        const detail::OwnedError owned(error);
        if (owned) detail::fail(owned.get());
    }

    /// Ends the session at once; waiting calls throw. Any thread may call it.
    void abort() noexcept { cardbroker_session_abort(session_.get()); }

    std::uint32_t waiters() const { return cardbroker_session_waiters(session_.get()); }
    bool is_open() const { return cardbroker_session_is_open(session_.get()); }
    std::string insertion_id() const { return detail::text(cardbroker_session_insertion_id(session_.get())); }
    std::string state_tag() const { return detail::text(cardbroker_session_state_tag(session_.get())); }
    /// The card's answer to reset at the start of the session.
    std::vector<std::uint8_t> atr() const {
        std::size_t length = 0;
        const std::uint8_t* const atr = cardbroker_session_atr(session_.get(), &length);
        return std::vector<std::uint8_t>(atr, atr + length);
    }
    std::chrono::nanoseconds queue_duration() const {
        return detail::time(cardbroker_session_queue_duration_ns(session_.get()));
    }
    bool was_reset() const { return cardbroker_session_was_reset(session_.get()); }

private:
    friend class Client;
    using Handle = detail::Owned<cardbroker_session, cardbroker_session_free>;
    explicit Session(Handle session) : session_(std::move(session)) {}

    Handle session_;
};

/// A connection to the broker. Copies are cheap and share it; after a loss the next call reconnects. Threads may share
/// a client. After a fork the child must make its own.
class Client {
public:
    /// Connects to the endpoint of the options, or of the environment, or else to the first default place that works.
    ///
    /// Throws NotRunning if no broker answers in time, InvalidRequest for invalid options.
    explicit Client(const ConnectOptions& options = {}) {
        using Options = detail::Owned<cardbroker_connect_options, cardbroker_connect_options_free>;
        const auto connect = detail::made<Options>(cardbroker_connect_options_new());
        if (!options.endpoint.empty()) {
            cardbroker_connect_options_set_endpoint(connect.get(), options.endpoint.c_str());
        }
        if (!options.group.empty()) cardbroker_connect_options_set_group(connect.get(), options.group.c_str());
        if (!options.token_file.empty()) {
            cardbroker_connect_options_set_token_file(connect.get(), options.token_file.c_str());
        }
        cardbroker_connect_options_set_connect_timeout_ms(connect.get(), detail::milliseconds(options.connect_timeout));
        client_ =
            detail::call<Handle>(cardbroker_connect, static_cast<const cardbroker_connect_options*>(connect.get()));
    }

    /// The address of the broker.
    std::string endpoint() const { return detail::text(cardbroker_client_endpoint(client_.get())); }

    /// The broker's version, features and limits, and this program's caller identity.
    BrokerInfo broker() const {
        using Answer = detail::Owned<cardbroker_broker, cardbroker_broker_free>;
        const auto answer = detail::call<Answer>(cardbroker_client_broker, client_.get());
        return detail::broker(answer.get());
    }

    /// All readers that this program may see, ordered by name.
    std::vector<Reader> readers() const {
        return listed(detail::call<Readers>(cardbroker_client_readers, client_.get()));
    }

    /// The current state of one reader.
    Reader reader(const ReaderName& reader) const {
        using Found = detail::Owned<cardbroker_reader, cardbroker_reader_free>;
        const auto found = detail::call<Found>(cardbroker_client_reader, client_.get(), reader.text().c_str());
        return detail::reader(found.get());
    }

    /// Runs 1–64 commands on the card in the reader as one unit: no other caller's command runs between them.
    ///
    /// Throws Stopped if the unit ended early, another Error if it did not run or its answer did not arrive.
    Transmitted transmit(const ReaderName& reader, const std::vector<Command>& commands,
                         const TransmitOptions& options = {}) const {
        const auto list = detail::commands(commands);
        const auto terms = detail::options(options);
        const auto answers = detail::call<detail::OwnedAnswers>(cardbroker_transmit, client_.get(),
                                                                reader.text().c_str(), list.get(), terms.get());
        return detail::transmitted(answers.get());
    }

    /// Waits for the turn and takes a lease on the card in the reader.
    Session open_session(const ReaderName& reader, const SessionOptions& options = {}) const {
        const auto terms = detail::options(options);
        return Session(
            detail::call<Session::Handle>(cardbroker_open_session, client_.get(), reader.text().c_str(), terms.get()));
    }

    /// Ends calls in progress, which throw, and every later one; sessions and watches go on. Any thread may call it.
    void stop() const noexcept { cardbroker_client_stop(client_.get()); }

    /// Follows all readers; reconnects after a loss.
    Watch watch() const { return Watch(detail::call<Watch::Handle>(cardbroker_client_watch, client_.get())); }

    /// Follows the waiting requests of this program, at all readers or at one.
    TurnWatch watch_turn() const { return turns_at(nullptr); }
    TurnWatch watch_turn(const ReaderName& reader) const { return turns_at(reader.text().c_str()); }

private:
    using Handle = detail::Owned<cardbroker_client, cardbroker_client_free>;
    using Readers = detail::Owned<cardbroker_readers, cardbroker_readers_free>;

    TurnWatch turns_at(const char* reader) const {
        return TurnWatch(detail::call<TurnWatch::Handle>(cardbroker_client_watch_turn, client_.get(), reader));
    }

    static std::vector<Reader> listed(const Readers& from) {
        std::vector<Reader> readers;
        for (std::size_t index = 0; index < cardbroker_readers_count(from.get()); ++index) {
            readers.push_back(detail::reader(cardbroker_readers_get(from.get(), index)));
        }
        return readers;
    }

    std::shared_ptr<cardbroker_client> client_;
};

/// The meaning of a status word by ISO 7816-4, for people; empty if it has none.
inline std::optional<std::string> meaning(std::uint16_t status_word) {
    const detail::Owned<char, cardbroker_text_free> text(cardbroker_status_word_meaning(status_word));
    if (!text) return std::nullopt;
    return std::string(text.get());
}

}  // namespace cardbroker
