// The client's driver for the conformance kit (proto/conformance/README.md): reads one JSON object per line, runs its
// operation through the library's public headers (except for the search for a broker), and prints one JSON object per
// line.
#include <cardbroker/cardbroker.h>

#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>

#include "driver_answers.h"
#include "driver_follower.h"
#include "driver_messages.h"
#include "driver_places.h"

namespace cardbroker::driver {

namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

/// An order: one line of the input.
class Order {
public:
    explicit Order(Struct fields) : fields_(std::move(fields)) {}

    bool has(const std::string& key) const { return fields_.fields().count(key) > 0; }
    /// The value of a key; null if it is missing.
    const Value& at(const std::string& key) const {
        static const Value null;
        const auto found = fields_.fields().find(key);
        return found == fields_.fields().end() ? null : found->second;
    }
    std::string text(const std::string& key) const { return at(key).string_value(); }
    double number(const std::string& key) const { return at(key).number_value(); }
    bool flag(const std::string& key) const { return at(key).bool_value(); }
    Restart restart() const {
        if (!has("restart")) return Restart::Automatic;
        return flag("restart") ? Restart::Now : Restart::Never;
    }
    template <typename Message>
    Message message(const std::string& key) const {
        Message message;
        if (has(key)) parse(at(key), message);
        return message;
    }

private:
    Struct fields_;
};

std::chrono::nanoseconds seconds(double count) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(count));
}

/// Begins the commands or the reset of a session's message; returns a function that waits for the answer.
std::function<std::string()> begin(Session& session, const Value* transmit, const Value* reset, Restart when) {
    if (reset) {
        v1::SessionReset order;
        parse(*reset, order);
        auto pending = std::make_shared<PendingReset>(session.begin_reset(static_cast<CardReset>(order.reset()), when));
        return [pending] {
            const std::vector<std::uint8_t> atr = pending->get();
            v1::SessionResetDone done;
            done.set_atr(std::string(atr.begin(), atr.end()));
            return json(done);
        };
    }
    v1::SessionTransmit order;
    if (transmit) parse(*transmit, order);
    auto pending = std::make_shared<Pending>(session.begin(commands(order.commands()), when));
    return [pending] { return json(in_session(message(pending->get()))); };
}

class Driver {
public:
    std::string run(const Order& order) {
        const std::string op = order.text("op");
        if (op == "watch_next" && watch_follower_) return watch_follower_->next();
        if (op == "turn_next" && turn_follower_) return turn_follower_->next();
        return answer([&] { return (this->*operation(op))(order); }, op == "session_transmit");
    }

private:
    using Operation = std::string (Driver::*)(const Order&);
    static const std::map<std::string, Operation> operations;

    static Operation operation(const std::string& op) {
        const auto found = operations.find(op);
        if (found == operations.end()) throw InvalidRequest("op", "unknown operation " + op);
        return found->second;
    }

    std::string connect(const Order& order) {
        ConnectOptions options;
        options.group = order.text("group");
        options.token_file = order.text("token_file");
        if (order.has("connect_timeout")) {
            options.connect_timeout =
                std::chrono::duration_cast<std::chrono::milliseconds>(seconds(order.number("connect_timeout")));
        }
        client_.emplace(Endpoint(order.text("endpoint")), options);
        return "{}";
    }

    std::string get_broker(const Order&) { return json(message(client().broker())); }

    std::string readers(const Order&) {
        v1::ListReadersResponse list;
        for (const Reader& reader : client().readers()) *list.add_readers() = message(reader);
        return json(list);
    }

    std::string reader(const Order& order) { return json(message(client().reader(order.text("name")))); }

    std::string watch(const Order&) {
        watch_follower_.reset();
        auto watch = std::make_shared<Watch>(client().watch());
        watch_follower_ = std::make_unique<Follower>([watch](Follower& follower) { follow(*watch, follower); },
                                                     [watch] { watch->stop(); });
        return "{}";
    }

    std::string watch_turn(const Order& order) {
        turn_follower_.reset();
        auto watch = std::make_shared<TurnWatch>(order.has("reader") ? client().watch_turn(order.text("reader"))
                                                                     : client().watch_turn());
        turn_follower_ = std::make_unique<Follower>([watch](Follower& follower) { follow(*watch, follower); },
                                                    [watch] { watch->stop(); });
        return "{}";
    }

    std::string transmit(const Order& order) {
        const auto request = order.message<v1::TransmitRequest>("request");
        TransmitOptions options = driver::options(request);
        if (order.has("deadline")) options.deadline = seconds(order.number("deadline"));
        options.repeatable = order.flag("repeat");
        options.any_card = order.flag("any_card");
        return json(message(client().transmit(request.reader(), commands(request.commands()), options)));
    }

    std::string open(const Order& order) {
        const auto request = order.message<v1::SessionOpen>("request");
        session_.reset();
        session_.emplace(client().open_session(request.reader(), driver::options(request)));
        return json(message(*session_));
    }

    std::string session_transmit(const Order& order) {
        return begin(session(), &order.at("request"), nullptr, order.restart())();
    }

    std::string session_reset(const Order& order) {
        return begin(session(), nullptr, &order.at("request"), order.restart())();
    }

    std::string session_pipeline(const Order& order) {
        std::vector<std::function<std::string()>> pending;
        for (const Value& item : order.at("messages").list_value().values()) {
            const Order one(item.struct_value());
            try {
                pending.push_back(begin(session(), one.has("transmit") ? &one.at("transmit") : nullptr,
                                        one.has("reset") ? &one.at("reset") : nullptr, one.restart()));
            } catch (const Error&) {
                pending.push_back(
                    [error = std::current_exception()]() -> std::string { std::rethrow_exception(error); });
            }
        }
        std::string answers;
        for (const auto& wait : pending) answers += (answers.empty() ? "" : ", ") + answer(wait, true);
        return "{\"answers\": [" + answers + "]}";
    }

    std::string session_close(const Order&) {
        session().close();
        return "{}";
    }

    std::string session_drop(const Order&) {
        session_.reset();
        return "{}";
    }

    std::string parse_endpoint(const Order& order) {
        Struct result;
        (*result.mutable_fields())["endpoint"].set_string_value(Endpoint(order.text("text")).to_string());
        return json(result);
    }

    std::string find(const Order& order) {
        const Struct& environment = order.at("environment").struct_value();
        const auto runtime = environment.fields().find("XDG_RUNTIME_DIR");
        return json(driver::find(static_cast<unsigned>(order.number("uid")),
                                 runtime == environment.fields().end() ? "" : runtime->second.string_value(),
                                 order.at("found").struct_value()));
    }

    std::string meaning(const Order& order) {
        Struct result;
        const auto text = cardbroker::meaning(static_cast<std::uint16_t>(order.number("status_word")));
        if (text) (*result.mutable_fields())["text"].set_string_value(*text);
        return json(result);
    }

    const Client& client() const {
        if (!client_) throw InvalidRequest("op", "connect first");
        return *client_;
    }

    Session& session() {
        if (!session_) throw InvalidRequest("op", "open a session first");
        return *session_;
    }

    std::optional<Client> client_;
    std::optional<Session> session_;
    std::unique_ptr<Follower> watch_follower_;
    std::unique_ptr<Follower> turn_follower_;
};

const std::map<std::string, Driver::Operation> Driver::operations{
    {"connect", &Driver::connect},
    {"get_broker", &Driver::get_broker},
    {"readers", &Driver::readers},
    {"reader", &Driver::reader},
    {"watch", &Driver::watch},
    {"watch_turn", &Driver::watch_turn},
    {"transmit", &Driver::transmit},
    {"open", &Driver::open},
    {"session_transmit", &Driver::session_transmit},
    {"session_reset", &Driver::session_reset},
    {"session_pipeline", &Driver::session_pipeline},
    {"session_close", &Driver::session_close},
    {"session_drop", &Driver::session_drop},
    {"parse_endpoint", &Driver::parse_endpoint},
    {"find", &Driver::find},
    {"meaning", &Driver::meaning},
};

void run() {
    Driver driver;
    for (std::string line; std::getline(std::cin, line);) {
        Struct fields;
        parse(line, fields);
        std::cout << driver.run(Order(std::move(fields))) << std::endl;
    }
}

}  // namespace

}  // namespace cardbroker::driver

int main() try { cardbroker::driver::run(); } catch (const std::exception& error) {
    std::cerr << "driver: " << error.what() << '\n';
    return 2;
}
