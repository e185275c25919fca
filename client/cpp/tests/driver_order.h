// An order of the kit to the driver.
#pragma once

#include <google/protobuf/struct.pb.h>

#include <string>
#include <utility>

#include "driver_client.h"
#include "driver_messages.h"

namespace cardbroker::driver {

/// An order: one line of the input.
class Order {
public:
    explicit Order(google::protobuf::Struct fields) : fields_(std::move(fields)) {}

    bool has(const std::string& key) const { return fields_.fields().count(key) > 0; }
    /// The value of a key; null if it is missing.
    const google::protobuf::Value& at(const std::string& key) const {
        static const google::protobuf::Value null;
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
    google::protobuf::Struct fields_;
};

}  // namespace cardbroker::driver
