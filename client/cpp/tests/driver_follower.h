// The driver's watches, each in a thread of its own: the readers, and its waiting requests.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "driver_client.h"

namespace cardbroker::driver {

/// A thread that follows a watch, and its pending answers.
class Follower {
public:
    /// `work` calls `tell` for each answer until `stop` ends it.
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

/// Adds all readers as an answer after each change, until the watch is stopped.
void follow(Watch& watch, Follower& follower);

/// Adds the waiting requests as an answer after each change, until the watch ends.
void follow(TurnWatch& watch, Follower& follower);

}  // namespace cardbroker::driver
