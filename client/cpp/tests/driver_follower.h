// What the driver follows in threads of their own: the readers, and its waiting turns.
#pragma once

#include <cardbroker/cardbroker.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace cardbroker::driver {

/// A thread that follows something, and the answers that it has ready.
class Follower {
public:
    /// `work` takes answers to where they are handed out, until `stop` ends it.
    Follower(std::function<void(Follower&)> work, std::function<void()> stop)
        : stop_(std::move(stop)), thread_([this, work = std::move(work)] { work(*this); }) {}

    ~Follower() {
        stop_();
        thread_.join();
    }

    void tell(std::string answer) {
        const std::lock_guard lock(mutex_);
        answers_.push_back(std::move(answer));
        changed_.notify_all();
    }

    std::string next() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !answers_.empty(); });
        std::string answer = std::move(answers_.front());
        answers_.pop_front();
        return answer;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> answers_;
    std::function<void()> stop_;
    std::thread thread_;
};

/// Tells all readers after each change, until the watch is stopped.
void follow(Watch& watch, Follower& follower);

/// Tells the waiting requests after each change, until the watch ends.
void follow(TurnWatch& watch, Follower& follower);

}  // namespace cardbroker::driver
