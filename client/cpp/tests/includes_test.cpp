// The sources include each other's headers in one direction.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace cardbroker::tests {

namespace {

using Includes = std::map<std::string, std::set<std::string>>;

/// The files of a folder by their names behind the prefix, each with the names that it includes.
void add_includes(const std::string& folder, const std::string& prefix, Includes& includes) {
    static const std::regex include(R"(^#include [<"]([a-z_/]+\.h)[>"])");
    for (const auto& entry : std::filesystem::directory_iterator(std::string(CARDBROKER_SOURCES) + folder)) {
        std::set<std::string>& names = includes[prefix + entry.path().filename().string()];
        std::ifstream file(entry.path());
        std::smatch match;
        for (std::string line; std::getline(file, line);) {
            if (std::regex_search(line, match, include)) names.insert(match[1]);
        }
    }
}

/// Checks all includes of `file`; `path` has the files from the start to it.
void visit(const std::string& file, const Includes& includes, std::vector<std::string>& path,
           std::set<std::string>& done) {
    const auto found = includes.find(file);
    if (found == includes.end() || done.count(file) > 0) return;
    CAPTURE(file);
    REQUIRE(std::find(path.begin(), path.end(), file) == path.end());
    path.push_back(file);
    for (const std::string& included : found->second) visit(included, includes, path, done);
    path.pop_back();
    done.insert(file);
}

}  // namespace

TEST_CASE("includes form no circle") {
    Includes includes;
    add_includes("/src", "", includes);
    add_includes("/include/cardbroker", "cardbroker/", includes);
    REQUIRE(includes.at("cardbroker/cardbroker.h").size() > 5);
    std::vector<std::string> path;
    std::set<std::string> done;
    for (const auto& [file, included] : includes) visit(file, includes, path, done);
}

}  // namespace cardbroker::tests
