// Reads the broker's failure from the trailers of a call.
#include "status_details.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <string>

#include "cardbroker/v1/error.pb.h"
#include "convert.h"
#include "names.h"

namespace cardbroker {

namespace {

using google::protobuf::internal::WireFormatLite;

/// The text fields of a message by their numbers, each in order. Empty if the bytes are no message.
std::multimap<int, std::string> text_fields(const std::string& message) {
    std::multimap<int, std::string> fields;
    google::protobuf::io::CodedInputStream input(reinterpret_cast<const std::uint8_t*>(message.data()),
                                                 static_cast<int>(message.size()));
    while (const std::uint32_t tag = input.ReadTag()) {
        if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
            if (!WireFormatLite::SkipField(&input, tag)) return {};
            continue;
        }
        std::string value;
        if (!WireFormatLite::ReadBytes(&input, &value)) return {};
        fields.emplace(WireFormatLite::GetTagFieldNumber(tag), std::move(value));
    }
    return fields;
}

/// The first field of this number; empty if there is none.
std::string first(const std::multimap<int, std::string>& fields, int number) {
    const auto found = fields.find(number);
    return found == fields.end() ? "" : found->second;
}

/// google.rpc.ErrorInfo, parsed without the googleapis library: reason, domain, and the metadata map.
struct ErrorInfo {
    std::string reason;
    std::string domain;
    std::map<std::string, std::string> metadata;

    explicit ErrorInfo(const std::string& message) {
        const auto fields = text_fields(message);
        reason = first(fields, 1);
        domain = first(fields, 2);
        const auto entries = fields.equal_range(3);
        for (auto entry = entries.first; entry != entries.second; ++entry) {
            const auto pair = text_fields(entry->second);
            metadata[first(pair, 1)] = first(pair, 2);
        }
    }
};

std::optional<std::string> trailer(const grpc::ClientContext& context, const char* name) {
    const auto& trailers = context.GetServerTrailingMetadata();
    const auto found = trailers.find(name);
    if (found == trailers.end()) return std::nullopt;
    return std::string(found->second.data(), found->second.size());
}

/// `not_sent` or `NOT_SENT`; other texts are Unknown.
Delivery delivery_named(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char letter) { return std::toupper(letter); });
    if (name == "NOT_SENT") return Delivery::NotSent;
    return name == "EXECUTED" ? Delivery::Executed : Delivery::Unknown;
}

Failure named(const grpc::Status& status, const std::string& reason, const std::string& delivery) {
    Failure failure;
    failure.message = status.error_message();
    failure.delivery = delivery_named(delivery);
    failure.code = static_cast<StatusCode>(status.error_code());
    v1::ErrorReason known = v1::ERROR_REASON_UNSPECIFIED;
    if (v1::ErrorReason_Parse("ERROR_REASON_" + reason, &known)) failure.reason = static_cast<ErrorReason>(known);
    failure.reason_name = reason;
    return failure;
}

bool is_type(const google::protobuf::Any& detail, std::string_view type) {
    const std::string_view url = detail.type_url();
    return url.substr(url.rfind('/') + 1) == type;
}

std::optional<Failure> of_failure(const v1::StatusDetails& details, const grpc::Status& status) {
    for (const google::protobuf::Any& detail : details.details()) {
        v1::Failure wire;
        if (!is_type(detail, "cardbroker.v1.Failure") || !wire.ParseFromString(detail.value())) continue;
        Failure failure = from_wire(wire);
        if (wire.code() == 0) failure.code = static_cast<StatusCode>(status.error_code());
        if (failure.message.empty()) failure.message = status.error_message();
        return failure;
    }
    return std::nullopt;
}

std::optional<ErrorInfo> error_info(const v1::StatusDetails& details) {
    for (const google::protobuf::Any& detail : details.details()) {
        if (!is_type(detail, "google.rpc.ErrorInfo")) continue;
        ErrorInfo info(detail.value());
        if (info.domain == "cardbroker") return info;
    }
    return std::nullopt;
}

/// Reads google.rpc.RetryInfo and google.rpc.BadRequest without the googleapis library.
void add_generic(const v1::StatusDetails& details, Failure& failure) {
    for (const google::protobuf::Any& detail : details.details()) {
        if (is_type(detail, "google.rpc.RetryInfo")) {
            google::protobuf::Duration delay;
            const auto fields = text_fields(detail.value());
            if (fields.count(1) > 0 && delay.ParseFromString(first(fields, 1))) failure.retry_after = from_wire(delay);
        }
        if (is_type(detail, "google.rpc.BadRequest")) {
            const auto fields = text_fields(detail.value());
            const auto violations = fields.equal_range(1);
            for (auto violation = violations.first; violation != violations.second; ++violation) {
                const auto parts = text_fields(violation->second);
                failure.field_violations.push_back({first(parts, 1), first(parts, 2)});
            }
        }
    }
}

}  // namespace

std::optional<Failure> reported_failure(const grpc::Status& status, const grpc::ClientContext& context) {
    v1::StatusDetails details;
    if (details.ParseFromString(status.error_details())) {
        if (auto failure = of_failure(details, status)) return failure;
    } else {
        details.Clear();
    }
    auto info = error_info(details);
    const auto reason = trailer(context, names::reason_trailer);
    const auto delivery = trailer(context, names::delivery_trailer);
    if (!info && !reason && !delivery) return std::nullopt;
    if (!info) info.emplace("");
    // The trailer fills a gap of ErrorInfo.
    const auto said = [](const std::string& text, const std::optional<std::string>& trailer) {
        return text.empty() ? trailer.value_or("") : text;
    };
    Failure failure = named(status, said(info->reason, reason), said(info->metadata["delivery"], delivery));
    failure.rule = info->metadata["rule"];
    failure.reader = info->metadata["reader"];
    add_generic(details, failure);
    return failure;
}

}  // namespace cardbroker
