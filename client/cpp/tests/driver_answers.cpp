// The driver's answers: the result of an operation, or its error, as one JSON object.
#include "driver_answers.h"

namespace cardbroker::driver {

std::string ok(const std::string& json) { return "{\"ok\": " + json + '}'; }

v1::SessionTransmitted in_session(const v1::TransmitResponse& unit) {
    v1::SessionTransmitted transmitted;
    *transmitted.mutable_results() = unit.results();
    *transmitted.mutable_card_duration() = unit.card_duration();
    return transmitted;
}

v1::SessionResetDone reset_done(const std::vector<std::uint8_t>& atr) {
    v1::SessionResetDone done;
    done.set_atr(std::string(atr.begin(), atr.end()));
    return done;
}

std::string failed(const char* kind, const Error& error, const std::string& more) {
    return std::string("{\"error\": {\"kind\": \"") + kind +
           "\", \"permanent\": " + (error.is_permanent() ? "true" : "false") +
           ", \"failure\": " + json(message(error.failure())) + more + "}}";
}

std::string answer(const std::function<std::string()>& work, bool is_session) try {
    return ok(work());
} catch (const NotRunning& error) {
    return failed("not_running", error);
} catch (const InvalidRequest& error) {
    return failed("invalid", error);
} catch (const Stopped& stopped) {
    const v1::TransmitResponse unit = message(stopped.partial());
    return failed("stopped", stopped,
                  ", \"index\": " + std::to_string(stopped.index()) +
                      ", \"response\": " + (is_session ? json(in_session(unit)) : json(unit)));
} catch (const Error& error) {
    return failed("failed", error);
}

}  // namespace cardbroker::driver
