// Files that hold a secret: used only if nobody else can read or change them.
#pragma once

#include <string>

namespace cardbroker {

/// The text of a regular file of this user's, or of root's, that nobody else can read or change. Otherwise returns
/// nothing and says in `problem` what is wrong with the file.
std::string read_private_file(const std::string& path, std::string& problem);

}  // namespace cardbroker
