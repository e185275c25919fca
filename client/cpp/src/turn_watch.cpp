// The watch of this program's waiting requests.
#include <cardbroker/client.h>
#include <cardbroker/turn.h>
#include <grpcpp/alarm.h>

#include <atomic>
#include <utility>

#include "connection.h"
#include "convert.h"
#include "queries.h"
#include "server_stream.h"

namespace cardbroker {

class TurnWatch::State {
    using Stream = ServerStream<v1::WatchTurnResponse>;
    using Step = Stream::Step;

public:
    /// An empty reader: all readers. Throws Error.
    State(Connection& connection, const std::string& reader) {
        const Line line = connection.connected();
        stream_.channel = line.channel;
        connection.sign(stream_.context, line);
        stream_.limit = Stream::Clock::now() + Stream::open_timeout;
        v1::WatchTurnRequest request;
        request.set_reader(reader);
        stream_.reader = Stub(stream_.channel).AsyncWatchTurn(&stream_.context, request, &queue_, &stream_);
    }

    ~State() {
        stream_.context.TryCancel();
        queue_.Shutdown();
        void* tag = nullptr;
        bool ok = false;
        while (queue_.Next(&tag, &ok)) {
        }
    }

    std::optional<std::vector<WaitingTurn>> next(Nanoseconds timeout) {
        const auto deadline = after(timeout);
        while (!stopped_) {
            if (ended_by_) throw Error(*ended_by_);
            void* tag = nullptr;
            bool ok = false;
            switch (queue_.AsyncNext(&tag, &ok, std::min(stream_.limit, deadline))) {
                case grpc::CompletionQueue::GOT_EVENT:
                    if (tag == &stream_) {
                        if (auto waiting = advance(ok)) return waiting;
                    }
                    break;
                case grpc::CompletionQueue::TIMEOUT:
                    if (Stream::Clock::now() < stream_.limit) return std::nullopt;
                    stream_.give_up();
                    break;
                case grpc::CompletionQueue::SHUTDOWN:
                    return std::nullopt;
            }
        }
        return std::nullopt;
    }

    void stop() noexcept {
        if (!stopped_.exchange(true)) wake_.Set(&queue_, Stream::Clock::now(), &wake_);
    }

    bool is_stopped() const noexcept { return stopped_; }

private:
    std::optional<std::vector<WaitingTurn>> advance(bool ok) {
        switch (stream_.advance(ok)) {
            case Step::Received:
                return take();
            case Step::Ended:
                ended_by_ = stream_.why_ended();
                break;
            case Step::Nothing:
                break;
        }
        return std::nullopt;
    }

    /// A heartbeat is no report.
    std::optional<std::vector<WaitingTurn>> take() {
        std::optional<std::vector<WaitingTurn>> reported;
        if (!stream_.message.is_heartbeat()) {
            reported.emplace();
            for (const v1::WaitingTurn& turn : stream_.message.waiting()) reported->push_back(from_wire(turn));
        }
        stream_.read_on();
        return reported;
    }

    std::atomic<bool> stopped_{false};
    grpc::CompletionQueue queue_;
    grpc::Alarm wake_;
    Stream stream_;
    std::optional<Error> ended_by_;
};

TurnWatch Client::watch_turn() const { return TurnWatch(std::make_unique<TurnWatch::State>(*connection_, "")); }

TurnWatch Client::watch_turn(const ReaderName& reader) const {
    return TurnWatch(std::make_unique<TurnWatch::State>(*connection_, resolve(*connection_, reader)));
}

TurnWatch::TurnWatch(std::unique_ptr<State> state) : state_(std::move(state)) {}
TurnWatch::TurnWatch(TurnWatch&&) noexcept = default;
TurnWatch& TurnWatch::operator=(TurnWatch&&) noexcept = default;
TurnWatch::~TurnWatch() = default;

std::optional<std::vector<WaitingTurn>> TurnWatch::next(Nanoseconds timeout) { return state_->next(timeout); }
void TurnWatch::stop() noexcept { state_->stop(); }
bool TurnWatch::is_stopped() const noexcept { return state_->is_stopped(); }

}  // namespace cardbroker
