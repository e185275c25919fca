// The watch of all readers, which reconnects after a loss and reports the changes since then.
#include <cardbroker/client.h>
#include <cardbroker/watch.h>
#include <grpcpp/alarm.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <random>
#include <utility>
#include <variant>

#include "connection.h"
#include "convert.h"
#include "errors.h"
#include "server_stream.h"

namespace cardbroker {

namespace {

constexpr std::chrono::milliseconds first_pause(100);
constexpr std::chrono::milliseconds longest_pause(5000);

}  // namespace

class Watch::State {
    using Stream = ServerStream<v1::WatchReadersResponse>;
    using Clock = Stream::Clock;
    using Step = Stream::Step;

public:
    explicit State(std::shared_ptr<Connection> connection)
        : connection_(std::move(connection)),
          first_wait_end_(Clock::now() + std::chrono::duration_cast<Clock::duration>(connection_->connect_timeout())) {}

    ~State() {
        if (stream_) stream_->context.TryCancel();
        queue_.Shutdown();
        void* tag = nullptr;
        bool ok = false;
        while (queue_.Next(&tag, &ok)) {
        }
    }

    std::optional<WatchEvent> next(Nanoseconds timeout) {
        const auto deadline = after(timeout);
        while (!stopped_) {
            if (!pending_.empty()) {
                WatchEvent event = std::move(pending_.front());
                pending_.pop_front();
                return event;
            }
            const auto limit = stream_ ? stream_->limit : pause_end_;
            void* tag = nullptr;
            bool ok = false;
            switch (queue_.AsyncNext(&tag, &ok, std::min(limit, deadline))) {
                case grpc::CompletionQueue::GOT_EVENT:
                    if (tag == stream_.get()) advance(ok);
                    break;
                case grpc::CompletionQueue::TIMEOUT:
                    if (Clock::now() < limit) return std::nullopt;
                    pass_limit();
                    break;
                case grpc::CompletionQueue::SHUTDOWN:
                    return std::nullopt;
            }
        }
        return std::nullopt;
    }

    const std::map<std::string, Reader>& readers() const noexcept { return readers_; }
    bool is_connected() const noexcept { return connected_ == true; }
    bool is_stopped() const noexcept { return stopped_; }

    void stop() noexcept {
        if (!stopped_.exchange(true)) wake_.Set(&queue_, Clock::now(), &wake_);
    }

private:
    void pass_limit() {
        if (!stream_) return open();
        stream_->give_up();
    }

    void open() try {
        const std::variant<Line, Away> found = connection_->fresh();
        if (const Away* const away = std::get_if<Away>(&found)) return lost(*away);
        const Line& line = std::get<Line>(found);
        auto stream = std::make_unique<Stream>();
        connection_->sign(stream->context, line);
        stream->channel = line.channel;
        v1::WatchReadersRequest request;
        request.set_resume_token(resume_token_);
        stream_ = std::move(stream);
        stream_->reader = Stub(stream_->channel).AsyncWatchReaders(&stream_->context, request, &queue_, stream_.get());
    } catch (const Error& error) {
        lost(error);
    }

    /// Processes the completion of the pending operation.
    void advance(bool ok) {
        switch (stream_->advance(ok)) {
            case Step::Received:
                take();
                return stream_->read_on();
            case Step::Ended:
                return was_away() ? lost(connection_->why_away()) : lost(stream_->why_ended());
            case Step::Nothing:
                return;
        }
    }

    /// Whether the stream has found no broker.
    bool was_away() const {
        return !stream_->silent && !stream_->status.ok() && !stream_->heard &&
               stream_->channel->GetState(false) != GRPC_CHANNEL_READY;
    }

    /// No broker was found; before the first Disconnected it may still be starting.
    void lost(const Away& away) {
        lost(away.error, away.waiting_helps && !connected_ && Clock::now() < first_wait_end_);
    }

    void lost(Error error, bool is_awaited = false) {
        stream_.reset();
        if (is_awaited) {
            pause_end_ = std::min(Clock::now() + first_pause, first_wait_end_);
            return;
        }
        // Half fixed, half random, so that many watches do not reconnect at the same moment.
        const auto pause = pause_ * std::uniform_real_distribution(0.5, 1.0)(random_);
        pause_end_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(pause);
        pause_ = std::min(pause_ * 2, longest_pause);
        if (std::exchange(connected_, false) != false) pending_.emplace_back(Disconnected{std::move(error)});
    }

    void take() {
        const v1::WatchReadersResponse& message = stream_->message;
        pause_ = first_pause;
        resume_token_ = message.resume_token();
        if (std::exchange(connected_, true) != true) pending_.emplace_back(Connected{});
        if (message.has_snapshot()) take(message.snapshot());
        if (message.has_change()) {
            for (const std::string& name : message.change().removed_names()) remove(readers_.find(name));
            for (const v1::Reader& reader : message.change().updated()) update(from_wire(reader));
        }
    }

    void take(const v1::ReadersSnapshot& snapshot) {
        std::map<std::string, Reader> now;
        for (const v1::Reader& reader : snapshot.readers()) now.emplace(reader.name(), from_wire(reader));
        for (auto known = readers_.begin(); known != readers_.end();) {
            const auto reader = known++;
            if (now.count(reader->first) == 0) remove(reader);
        }
        for (auto& [name, reader] : now) update(std::move(reader));
    }

    void remove(std::map<std::string, Reader>::iterator known) {
        if (known == readers_.end()) return;
        pending_.emplace_back(Removed{std::move(known->second)});
        readers_.erase(known);
    }

    /// Adds events for the differences only: a snapshot after a reconnect repeats known readers.
    void update(Reader reader) {
        Reader& known = readers_[reader.name];
        if (known == reader) return;
        known = reader;
        pending_.emplace_back(Updated{std::move(reader)});
    }

    const std::shared_ptr<Connection> connection_;
    std::atomic<bool> stopped_{false};
    grpc::CompletionQueue queue_;
    grpc::Alarm wake_;
    /// The running stream; absent during a pause.
    std::unique_ptr<Stream> stream_;
    Clock::time_point pause_end_ = Clock::now();
    /// The end of the first wait for a broker that does not answer yet.
    const Clock::time_point first_wait_end_;
    std::chrono::milliseconds pause_ = first_pause;
    std::minstd_rand random_{std::random_device{}()};
    std::string resume_token_;
    /// Absent before the end of the first attempt.
    std::optional<bool> connected_;
    std::map<std::string, Reader> readers_;
    /// Events that `next` has not returned yet.
    std::deque<WatchEvent> pending_;
};

Watch Client::watch() const { return Watch(std::make_unique<Watch::State>(connection_)); }

Watch::Watch(std::unique_ptr<State> state) : state_(std::move(state)) {}
Watch::Watch(Watch&&) noexcept = default;
Watch& Watch::operator=(Watch&&) noexcept = default;
Watch::~Watch() = default;

std::optional<WatchEvent> Watch::next(Nanoseconds timeout) { return state_->next(timeout); }
const std::map<std::string, Reader>& Watch::readers() const noexcept { return state_->readers(); }
bool Watch::is_connected() const noexcept { return state_->is_connected(); }
void Watch::stop() noexcept { state_->stop(); }
bool Watch::is_stopped() const noexcept { return state_->is_stopped(); }

}  // namespace cardbroker
