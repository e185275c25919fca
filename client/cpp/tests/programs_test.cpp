// The example programs, run as users run them, and their excerpts in the README.
#include <doctest/doctest.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <regex>
#include <sstream>

#include "broker.h"

namespace cardbroker::tests {

namespace {

std::string text(const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

/// The text without the spaces at the start of its lines.
std::string unindented(const std::string& text) { return std::regex_replace(text, std::regex("(^|\n) +"), "$1"); }

/// A running example program with a broker.
class Example {
public:
    Example(const Broker& broker, const std::string& name, std::vector<std::string> arguments,
            std::map<std::string, std::string> environment = {}) {
        const char* folder = std::getenv("CARDBROKER_EXAMPLES");
        if (!folder) throw std::runtime_error("CARDBROKER_EXAMPLES must name the folder of the example programs");
        environment.emplace("CARDBROKER_ENDPOINT", broker.endpoint());
        arguments.insert(arguments.begin(), std::filesystem::path(folder) / name);
        program_ = std::make_unique<Program>(arguments, environment, folder_.path() / "out");
    }

    std::string out() const { return text(folder_.path() / "out"); }

    Program& program() { return *program_; }

private:
    Folder folder_;
    std::unique_ptr<Program> program_;
};

std::string run(const Broker& broker, const std::string& name, const std::vector<std::string>& arguments,
                const std::map<std::string, std::string>& environment = {}) {
    Example example(broker, name, arguments, environment);
    const int code = example.program().wait();
    return code == 0 ? example.out() : std::to_string(code) + ": " + example.out();
}

}  // namespace

TEST_CASE("the first example waits for a card, selects and reads") {
    const Broker broker;
    const Client client = broker.client();
    client.transmit(reader, commands({fault(2, 0, 300)}));
    until([&] { return client.readers().at(0).state == ReaderState::Empty; });
    CHECK(run(broker, "first", {}) == "Simulated record\n");
}

TEST_CASE("the README shows excerpts of the examples") {
    const std::filesystem::path sources = CARDBROKER_SOURCES;
    std::string programs;
    for (const auto& entry : std::filesystem::directory_iterator(sources / "examples")) programs += text(entry.path());
    const std::map<std::string, std::string> shown = {
        {"cpp", unindented(programs)}, {"cmake", unindented(text(sources / "tests/consumer/CMakeLists.txt"))}};
    const std::string readme = text(sources / "README.md");
    const std::string fence = "```";
    std::size_t at = readme.find(fence);
    REQUIRE(at != std::string::npos);
    for (; at != std::string::npos; at = readme.find(fence, at)) {
        const std::size_t end = readme.find(fence, at + fence.size());
        REQUIRE(end != std::string::npos);
        const std::string block = readme.substr(at + fence.size(), end - at - fence.size());
        const std::string language = block.substr(0, block.find('\n'));
        CAPTURE(block);
        const auto examples = shown.find(language);
        const bool is_plain = language == "sh" || language == "text";
        REQUIRE((is_plain || examples != shown.end()));
        if (!is_plain) CHECK(examples->second.find(unindented(block.substr(language.size() + 1))) != std::string::npos);
        at = end + fence.size();
    }
}

TEST_CASE("the session example reads the file behind the PIN") {
    const Broker broker;
    CHECK(run(broker, "session", {}) == "Only for those who know the PIN.\n");
}

TEST_CASE("the following example prints the states of readers") {
    const Broker broker;
    const Example follower(broker, "follow", {});
    until([&] { return follower.out().find("readers/simulated-reader-01 READY\n") != std::string::npos; });
    CHECK(follower.out().find("readers/simulated-reader-00 READY\n") == 0);
}

TEST_CASE("generated stubs alone can use the broker") {
    const Broker broker;
    // gRPC parses the path as part of a URI.
    const std::string endpoint = std::regex_replace(broker.endpoint(), std::regex(" "), "%20");
    CHECK(run(broker, "bare", {reader}, {{"CARDBROKER_ENDPOINT", endpoint}}) ==
          "{\"readers\": 2, \"status_word\": 36864}\n");
}

TEST_CASE("parent and child share a verified PIN, other groups not") {
    const Broker broker;
    CHECK(run(broker, "parent_and_child", {reader}) ==
          "parent: the PIN is verified\nchild: Only for those who know the PIN.\n");
    CHECK(run(broker, "parent_and_child", {reader, "--child"}, {{"CARDBROKER_GROUP", "strangers"}}) ==
          "1: child: refused: security status not satisfied: a PIN or key must be verified first\n");
}

TEST_CASE("pairs stay whole and a killed program loses its lease") {
    const Broker broker;
    Example holder(broker, "pairs", {reader, "--seconds", "60", "--hold"});
    until([&] { return holder.out() == "{\"holding\": true}\n"; });
    Example units(broker, "pairs", {reader, "--seconds", "1"});
    Example sessions(broker, "pairs", {reader, "--seconds", "1", "--session"});
    holder.program().signal(SIGKILL);
    CHECK(holder.program().wait() == 128 + SIGKILL);
    for (Example* example : {&units, &sessions}) {
        CHECK(example->program().wait() == 0);
        CHECK(std::regex_match(example->out(), std::regex("\\{\"pairs\": [1-9][0-9]*, \"broken\": 0\\}\n")));
    }
    CHECK(run(broker, "pairs", {}).find("2: ") == 0);
}

}  // namespace cardbroker::tests
