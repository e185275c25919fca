// The client's driver for the conformance kit (proto/conformance/README.md): reads one JSON object per line, runs its
// operation through the library's public headers (except for the search for a broker), and prints one JSON object per
// line. The C interface's driver is made from it, too.
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>

#include "driver_answers.h"
#include "driver_client.h"
#include "driver_follower.h"
#include "driver_messages.h"
#include "driver_order.h"

namespace cardbroker::driver {

namespace {

using google::protobuf::Struct;

std::chrono::milliseconds seconds(double count) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(count));
}

class Driver {
public:
    std::string run(const Order& order) {
        const std::string op = order.text("op");
        if (op == "watch_next" && watch_follower_) return watch_follower_->next();
        if (op == "turn_next" && turn_follower_) return turn_follower_->next();
        const auto found = operations.find(op);
        const auto work = [&] {
            if (found != operations.end()) return (this->*found->second)(order);
            return run_own(op, order, session_ ? &*session_ : nullptr);
        };
        return answer(work, op == "session_transmit");
    }

private:
    using Operation = std::string (Driver::*)(const Order&);
    static const std::map<std::string, Operation> operations;

    std::string connect(const Order& order) {
        ConnectOptions options;
        options.group = order.text("group");
        options.token_file = order.text("token_file");
        if (order.has("connect_timeout")) options.connect_timeout = seconds(order.number("connect_timeout"));
        client_.emplace(driver::connect(order.text("endpoint"), std::move(options)));
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
        const auto request = order.message<v1::SessionTransmit>("request");
        return json(in_session(message(session().transmit(commands(request.commands()), order.restart()))));
    }

    std::string session_reset(const Order& order) {
        const auto reset = static_cast<CardReset>(order.message<v1::SessionReset>("request").reset());
        return json(reset_done(session().reset(reset, order.restart())));
    }

    std::string session_close(const Order&) {
        session().close();
        return "{}";
    }

    std::string session_drop(const Order&) {
        session_.reset();
        return "{}";
    }

    std::string meaning(const Order& order) {
        Struct result;
        const auto text = cardbroker::meaning(static_cast<std::uint16_t>(order.number("status_word")));
        if (text) (*result.mutable_fields())["text"].set_string_value(*text);
        return json(result);
    }

    const Client& client() const {
        if (!client_) throw std::logic_error("connect first");
        return *client_;
    }

    Session& session() {
        if (!session_) throw std::logic_error("open a session first");
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
    {"session_close", &Driver::session_close},
    {"session_drop", &Driver::session_drop},
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
