// The unanswered messages of a session, and the decision which message restarts it after a failure. No I/O.
#include "pipeline.h"

namespace cardbroker {

Pipeline::Sent Pipeline::send(std::uint64_t known_failure_count, Restart restart) {
    const bool is_due = restarted_count_ < failure_count_ && known_failure_count == failure_count_;
    const bool restarts = restart == Restart::Now || (restart == Restart::Automatic && is_due);
    if (restarts) restarted_count_ = failure_count_;
    unanswered_.push_back({++last_id_, restarted_count_});
    return {last_id_, restarts};
}

std::optional<std::uint64_t> Pipeline::answer(std::int64_t id, Outcome outcome) {
    if (unanswered_.empty() || unanswered_.front().id != id) return std::nullopt;
    const bool unexplained = unanswered_.front().restarted_count == failure_count_;
    unanswered_.pop_front();
    if (outcome == Outcome::Failed || (outcome == Outcome::PrecedingFailed && unexplained)) ++failure_count_;
    return failure_count_;
}

}  // namespace cardbroker
