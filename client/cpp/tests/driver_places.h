// The search for a broker in a table of the kit instead of a file system.
#pragma once

#include <google/protobuf/struct.pb.h>

#include <string>

namespace cardbroker::driver {

/// Searches as the user `uid` with this `XDG_RUNTIME_DIR`. Returns the findings, and the endpoint that works.
google::protobuf::Struct find(unsigned uid, const std::string& runtime, const google::protobuf::Struct& found);

}  // namespace cardbroker::driver
