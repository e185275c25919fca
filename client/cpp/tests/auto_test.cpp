// The endpoint tcp:auto: the port, token and certificate in the endpoint file of this user's broker; and token files.
#include <cardbroker/cardbroker.h>
#include <doctest/doctest.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>

#include "broker.h"
#include "connection.h"
#include "endpoint_file.h"
#include "probe.h"
#include "queries.h"
#include "token_file.h"

namespace cardbroker::tests {

namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;

std::string content(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// A table of the conformance kit.
ListValue table(const std::string& name) {
    ListValue table;
    const std::string json = content(CARDBROKER_SOURCES "/../../proto/conformance/" + name);
    REQUIRE(google::protobuf::util::JsonStringToMessage(json, &table).ok());
    REQUIRE(table.values_size() > 0);
    return table;
}

std::string text(const Struct& row, const std::string& key) {
    const auto entry = row.fields().find(key);
    return entry == row.fields().end() ? "" : entry->second.string_value();
}

/// The place of an endpoint file in a folder of the test, and brokers that write it.
struct Scene {
    Folder folder;
    Place place{std::string(folder.path()) + "/cardbroker/endpoint.json", true};

    Scene() {
        std::filesystem::create_directory(std::string(folder.path()) + "/cardbroker");
        chmod((std::string(folder.path()) + "/cardbroker").c_str(), 0700);
    }

    std::string in_folder(const std::string& name) const { return std::string(folder.path()) + '/' + name; }

    /// Makes a key and a certificate like a broker's, once.
    void make(const std::string& name) const {
        if (std::filesystem::exists(in_folder(name + ".key"))) return;
        const std::string command =
            "openssl req -x509 -nodes -days 1 -subj /CN=localhost -newkey ec -pkeyopt ec_paramgen_curve:P-256 -addext "
            "subjectAltName=DNS:localhost -addext basicConstraints=CA:FALSE -keyout " +
            in_folder(name + ".key") + " -out " + in_folder(name + ".pem") + " 2>/dev/null";
        REQUIRE(std::system(command.c_str()) == 0);
    }

    void write(const std::string& endpoint, const std::string& token, const std::string& certificate,
               pid_t pid = getpid(), mode_t mode = 0600) const {
        Struct file;
        auto& fields = *file.mutable_fields();
        fields["endpoint"].set_string_value(endpoint);
        fields["token"].set_string_value(token);
        fields["certificate"].set_string_value(certificate);
        fields["pid"].set_number_value(pid);
        std::string json;
        REQUIRE(google::protobuf::util::MessageToJsonString(file, &json).ok());
        const std::string fresh = place.path + ".new";
        std::ofstream(fresh) << json;
        REQUIRE(chmod(fresh.c_str(), mode) == 0);
        std::filesystem::rename(fresh, place.path);
    }

    std::unique_ptr<Connection> connection(std::chrono::milliseconds timeout = 5s) const {
        ConnectOptions options;
        options.connect_timeout = timeout;
        options.token_file = "/nowhere/token";
        return std::make_unique<Connection>(std::vector<Target>{{Endpoint("tcp:auto"), place}}, options);
    }

    std::string problem() const {
        const auto found = read_endpoint_file(place, geteuid());
        const auto* const finding = std::get_if<Finding>(&found);
        REQUIRE(finding);
        std::string text = finding->text + (finding->waiting_helps ? " (waits)" : "");
        const std::size_t at = text.find(place.path);
        return at == text.npos ? text : text.replace(at, place.path.size(), "FILE");
    }
};

/// A broker with TLS on a port that it chooses, which records the tokens of its calls.
class SecureBroker : private v1::CardBrokerService::Service {
public:
    SecureBroker(const Scene& scene, const std::string& token, const std::string& name = "broker",
                 const std::string& shows = "") {
        scene.make(name);
        grpc::SslServerCredentialsOptions options;
        options.pem_key_cert_pairs.push_back(
            {content(scene.in_folder(name + ".key")), content(scene.in_folder(name + ".pem"))});
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port_);
        builder.RegisterService(this);
        server_ = builder.BuildAndStart();
        scene.write("https://127.0.0.1:" + std::to_string(port_), token,
                    content(scene.in_folder((shows.empty() ? name : shows) + ".pem")));
    }
    ~SecureBroker() override { stop(); }

    void stop() {
        server_->Shutdown(std::chrono::system_clock::now());
        server_->Wait();
    }

    std::vector<std::string> tokens() const {
        const std::lock_guard lock(mutex_);
        return tokens_;
    }

private:
    grpc::Status ListReaders(grpc::ServerContext* context, const v1::ListReadersRequest*,
                             v1::ListReadersResponse*) override {
        const std::lock_guard lock(mutex_);
        const auto token = context->client_metadata().find("authorization");
        if (token != context->client_metadata().end()) {
            tokens_.emplace_back(token->second.begin(), token->second.end());
        }
        return grpc::Status::OK;
    }

    mutable std::mutex mutex_;
    std::vector<std::string> tokens_;
    int port_ = 0;
    std::unique_ptr<grpc::Server> server_;
};

void ask(Connection& connection) { list_readers(connection, EndTime::clock::now() + longest); }

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("endpoint files are read as in the other clients") {
    const ListValue rows = table("endpoint_files.json");
    for (const auto& value : rows.values()) {
        const Struct& row = value.struct_value();
        CAPTURE(text(row, "name"));
        std::string problem;
        const auto found = parse_endpoint_file(text(row, "text"), problem);
        const auto read = row.fields().find("read");
        CHECK(found.has_value() == (read != row.fields().end()));
        CHECK(problem == text(row, "problem"));
        if (!found || read == row.fields().end()) continue;
        const Struct& expected = read->second.struct_value();
        CHECK(found->endpoint.to_string() == text(expected, "endpoint"));
        CHECK(found->token == text(expected, "token"));
        CHECK(certificate_in(found->certificate) == text(expected, "certificate"));
        CHECK(static_cast<double>(found->pid) == expected.fields().at("pid").number_value());
        const auto start_time = expected.fields().find("start_time");
        CHECK(found->start_time.has_value() == (start_time != expected.fields().end()));
        if (!found->start_time) continue;
        CHECK(static_cast<double>(*found->start_time) == start_time->second.number_value());
    }
}

TEST_CASE("token files are read as in the other clients") {
    const ListValue rows = table("token_files.json");
    for (const auto& value : rows.values()) {
        const Struct& row = value.struct_value();
        CAPTURE(text(row, "name"));
        std::string problem;
        const TokenFile found = parse_token_file(text(row, "text"), problem);
        CHECK(problem.empty() == (row.fields().count("token") == 1));
        if (!problem.empty()) continue;
        CHECK(found.token == text(row, "token"));
        CHECK(certificate_in(found.certificate) == text(row, "certificate"));
    }
}

TEST_CASE("the endpoint file lies beside the default socket") {
    CHECK(endpoint_file_place(7, "").path == "/run/user/7/cardbroker/endpoint.json");
    CHECK(endpoint_file_place(7, "/a").path == "/a/cardbroker/endpoint.json");
    CHECK(endpoint_file_place(0, "/a").path == "/run/cardbroker/endpoint.json");
    CHECK(endpoint_file_place_on_windows("C:\\me").path == "C:\\me\\cardbroker\\endpoint.json");
}

TEST_CASE("without a folder of local data no file is read") {
    for (const std::string local : {"", "me", ".", "C:me", "\\me"}) {
        CAPTURE(local);
        const auto found = read_endpoint_file(endpoint_file_place_on_windows(local), 7);
        REQUIRE(std::holds_alternative<Finding>(found));
        CHECK(std::get<Finding>(found).kind == Finding::Kind::Missing);
        CHECK(std::get<Finding>(found).text.rfind("no such place", 0) == 0);
    }
}

TEST_CASE("only on Windows the endpoint file is used without being named") {
    CHECK(targets_of(std::nullopt, true).front().endpoint.is_auto());
    for (const Target& target : targets_of(std::nullopt, false)) CHECK(target.endpoint.is_unix());
    CHECK(targets_of(Endpoint("tcp:auto"), false).front().place.has_value());
}

TEST_CASE("a process with the same number is not the broker") {
    CHECK(!has_ended(getpid(), std::nullopt));
    CHECK(has_ended(getpid(), 1));
    CHECK(has_ended(4294967295, std::nullopt));
}

TEST_CASE("an endpoint file that another user could have made is not trusted") {
    const Scene scene;
    const std::string pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    CHECK(scene.problem() == "no such file: FILE (waits)");
    scene.write("https://127.0.0.1:9", "t", pem, getpid(), 0640);
    CHECK(scene.problem() == "not trusted: FILE is open to other users (its mode is 0640)");
    scene.write("https://127.0.0.1:9", "", pem);
    CHECK(scene.problem() == "FILE has no valid \"token\"");
    scene.write("https://127.0.0.1:9", "t", pem + std::string(64 << 10, ' '));
    CHECK(scene.problem() == "FILE is longer than 64 KiB");
    const pid_t ended = fork();
    if (ended == 0) _exit(0);
    waitpid(ended, nullptr, 0);
    scene.write("https://127.0.0.1:9", "t", pem, ended);
    CHECK(scene.problem() == "its broker, process " + std::to_string(ended) + ", has ended; see FILE (waits)");
    std::filesystem::rename(scene.place.path, scene.place.path + ".2");
    std::filesystem::create_symlink(scene.place.path + ".2", scene.place.path);
    CHECK(scene.problem() == "not trusted: FILE is a symbolic link");
    std::filesystem::remove(scene.place.path);
    std::filesystem::create_directory(scene.place.path);
    CHECK(scene.problem() == "not trusted: FILE is not a regular file");
    std::filesystem::remove(scene.place.path);
    if (geteuid() == 0) {
        scene.write("https://127.0.0.1:9", "t", pem);
        REQUIRE(chown(scene.place.path.c_str(), 54'321, static_cast<gid_t>(-1)) == 0);
        CHECK(scene.problem() == "not trusted: FILE belongs to uid 54321, not to this user");
    }
    chmod((std::string(scene.folder.path()) + "/cardbroker").c_str(), 0777);
    CHECK(scene.problem().find("not trusted: other users can write to ") == 0);
}

TEST_CASE("a client waits for an endpoint file but not for a better one") {
    const Scene scene;
    const auto missing = "no broker at tcp:auto (no such file: " + scene.place.path + ')';
    CHECK_THROWS_WITH_AS(scene.connection(300ms)->connected(), missing.c_str(), NotRunning);
    scene.write("https://127.0.0.1:9", "", "");
    const auto unusable = "tcp:auto: " + scene.place.path + " has no valid \"token\"";
    CHECK_THROWS_WITH_AS(scene.connection(60s)->connected(), unusable.c_str(), NotRunning);
    scene.write("https://127.0.0.1:9", "t", "", getpid(), 0644);
    CHECK_THROWS_WITH_AS(scene.connection(60s)->connected(), doctest::Contains("tcp:auto is not trusted"), NotRunning);
}

TEST_CASE("a restarted broker is found with its new port and token") {
    const Scene scene;
    SecureBroker first(scene, "one");
    const auto connection = scene.connection();
    ask(*connection);
    // Another file, while the first connection still works.
    SecureBroker second(scene, "two", "other");
    ask(*connection);
    first.stop();
    ask(*connection);
    CHECK(first.tokens() == Texts{"Bearer one", "Bearer one"});
    CHECK(second.tokens() == Texts{"Bearer two"});
}

TEST_CASE("a program with another certificate gets no token of the endpoint file") {
    const Scene scene;
    const SecureBroker first(scene, "one");
    const SecureBroker other(scene, "one", "other", "broker");
    CHECK_THROWS_WITH_AS(
        scene.connection(60s)->connected(),
        doctest::Contains("the port of tcp:auto is not that of the broker of the endpoint file: it has another"),
        NotRunning);
    CHECK(other.tokens().empty());
}

TEST_CASE("an end or silence in the handshake is no other program") {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in where{};
    socklen_t length = sizeof where;
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&where), length) == 0);
    REQUIRE(::listen(listener, 8) == 0);
    REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&where), &length) == 0);
    const Endpoint endpoint("https://127.0.0.1:" + std::to_string(ntohs(where.sin_port)));
    CHECK(probe(endpoint).text == "no answer in time");
    ::close(::accept(listener, nullptr, nullptr));
    const auto after = [&](const std::string& answer) {
        std::thread serving([&] {
            const int connection = ::accept(listener, nullptr, nullptr);
            char greeting[1024];
            CHECK(::recv(connection, greeting, sizeof greeting, 0) > 0);
            if (!answer.empty()) CHECK(::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL) > 0);
            ::close(connection);
        });
        const Finding finding = probe(endpoint);
        serving.join();
        return finding;
    };
    const Finding closed = after("");
    CHECK(closed.kind == Finding::Kind::Failed);
    CHECK(closed.waiting_helps);
    CHECK(after("HTTP/1.1 400 Bad Request\r\n\r\n").kind == Finding::Kind::OtherProgram);
    ::close(listener);
    // A server of TLS answers the greeting with its own, not with an alert.
    const Scene scene;
    const SecureBroker broker(scene, "one");
    const auto found = read_endpoint_file(scene.place, geteuid());
    CHECK(probe(std::get<EndpointFile>(found).endpoint).kind == Finding::Kind::OtherProgram);
}

}  // namespace cardbroker::tests
