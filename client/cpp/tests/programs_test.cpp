// The example programs, each run as a user runs it, and the README that shows them.
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

/// An example program on its way with a broker.
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

TEST_CASE("the program of the README waits for a card, selects and reads") {
    const Broker broker;
    const Client client = broker.client();
    client.transmit(reader, commands({fault(2, 0, 300)}));
    until([&] { return client.readers().at(0).state == ReaderState::Empty; });
    CHECK(run(broker, "first", {}) == "Simulated record\n");
}

TEST_CASE("the README shows the example programs as they are") {
    const std::filesystem::path sources = CARDBROKER_SOURCES;
    const std::string readme = text(sources / "README.md");
    for (const char* name : {"first.cpp", "bare.cpp"}) {
        const std::string example = text(sources / "examples" / name);
        REQUIRE(!example.empty());
        CHECK_MESSAGE(readme.find("```cpp\n" + example + "```") != std::string::npos, name);
    }
    const std::string first = text(sources / "examples" / "first.cpp");
    CHECK_MESSAGE(readme.find("```cpp") == readme.find("```cpp\n" + first), "the first snippet is another one");
}

TEST_CASE("stubs that protoc makes do without the library") {
    const Broker broker;
    // gRPC takes the path for a part of a URI.
    const std::string endpoint = std::regex_replace(broker.endpoint(), std::regex(" "), "%20");
    CHECK(run(broker, "bare", {reader}, {{"CARDBROKER_ENDPOINT", endpoint}}) ==
          "{\"readers\": 2, \"status_word\": 36864}\n");
}

TEST_CASE("parent and child share what the parent verified; a stranger does not") {
    const Broker broker;
    CHECK(run(broker, "parent_and_child", {reader}) ==
          "parent: the PIN is verified\nchild: Only for those who know the PIN.\n");
    CHECK(run(broker, "parent_and_child", {reader, "--child"}, {{"CARDBROKER_GROUP", "strangers"}}) ==
          "1: child: refused: security status not satisfied: a PIN or key must be verified first\n");
}

TEST_CASE("pairs of several programs stay whole, and one that is killed holds nothing") {
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
