// Names and limits that clients and broker agree on beside the contract.
#pragma once

#include <cstddef>

namespace cardbroker::names {

inline constexpr const char* endpoint_variable = "CARDBROKER_ENDPOINT";
/// The endpoint that means the port in this user's endpoint file.
inline constexpr const char* automatic = "tcp:auto";
inline constexpr const char* group_variable = "CARDBROKER_GROUP";
inline constexpr const char* token_file_variable = "CARDBROKER_TOKEN_FILE";
inline constexpr const char* group_metadata = "cardbroker-group";
inline constexpr const char* reason_trailer = "cardbroker-reason";
inline constexpr const char* delivery_trailer = "cardbroker-delivery";

/// The largest request, in bytes.
inline constexpr std::size_t max_message_bytes = 1 << 20;
inline constexpr std::size_t max_commands = 64;
inline constexpr std::size_t min_apdu_bytes = 4;
inline constexpr std::size_t max_apdu_bytes = 65'544;
/// The largest data for a reader without conversion, in bytes.
inline constexpr std::size_t max_raw_bytes = 65'548;

}  // namespace cardbroker::names
