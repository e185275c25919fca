// The search for a broker in a table of the kit instead of a file system.
#include "driver_places.h"

#include <cerrno>
#include <sstream>

#include "places.h"

namespace cardbroker::driver {

namespace {

using google::protobuf::Struct;

std::vector<std::string> words(const Struct& found, const std::string& path) {
    const auto entry = found.fields().find(path);
    std::istringstream text(entry == found.fields().end() ? "" : entry->second.string_value());
    std::vector<std::string> words;
    for (std::string word; text >> word;) words.push_back(word);
    return words;
}

int number(const std::string& error) {
    if (error == "EACCES") return EACCES;
    if (error == "ENOTDIR") return ENOTDIR;
    return error == "ECONNREFUSED" ? ECONNREFUSED : EIO;
}

std::variant<Part, int> look(const Struct& found, const std::string& path) {
    const std::vector<std::string> text = words(found, path);
    if (text.size() < 3) return text.empty() ? ENOENT : number(text[0]);
    Part::Kind kind = text[0] == "folder" ? Part::Kind::Folder : Part::Kind::Other;
    if (text[0] == "link") kind = Part::Kind::Link;
    const auto mode = static_cast<mode_t>(std::stoul(text[2], nullptr, 8));
    return Part{path, kind, static_cast<uid_t>(std::stoul(text[1])), mode};
}

const char* name(Finding::Kind kind) {
    switch (kind) {
        case Finding::Kind::Missing:
            return "missing";
        case Finding::Kind::Refused:
            return "refused";
        case Finding::Kind::Forbidden:
            return "forbidden";
        case Finding::Kind::Untrusted:
            return "untrusted";
        case Finding::Kind::OtherProgram:
            return "other_program";
        case Finding::Kind::TooLong:
            return "too_long";
        case Finding::Kind::Failed:
            break;
    }
    return "failed";
}

}  // namespace

Struct find(unsigned uid, const std::string& runtime, const Struct& found) {
    std::vector<std::pair<Place, Finding>> in_vain;
    const auto place = search(places(uid, runtime), in_vain, [&](const Place& each) {
        std::optional<Finding> finding = length_of(each.path);
        if (!finding) finding = walk(each, uid, [&](const std::string& path) { return look(found, path); });
        const std::vector<std::string> text = words(found, each.path);
        if (!finding && text.size() > 3) finding = finding_of(number(text[3]), "");
        return finding;
    });
    Struct answer;
    auto& list = *(*answer.mutable_fields())["tried"].mutable_list_value();
    for (const auto& [each, finding] : in_vain) {
        auto& fields = *list.add_values()->mutable_struct_value()->mutable_fields();
        fields["endpoint"].set_string_value("unix:" + each.path);
        fields["finding"].set_string_value(name(finding.kind));
    }
    if (place) (*answer.mutable_fields())["endpoint"].set_string_value("unix:" + place->path);
    return answer;
}

}  // namespace cardbroker::driver
