// The meanings of status words (ISO/IEC 7816-4 §5.6, tables 5 and 6).
#include <cardbroker/status_word.h>

namespace cardbroker {

namespace {

struct Meaning {
    std::uint16_t status_word;
    const char* text;
};

constexpr Meaning meanings[] = {
    {0x6100, "done, 256 or more bytes are waiting"},
    {0x6200, "warning, nothing was changed"},
    {0x6281, "warning, part of the data may be corrupted"},
    {0x6282, "warning, the end of the file or record came before Le bytes"},
    {0x6283, "warning, the selected file is deactivated"},
    {0x6284, "warning, the control information is not formatted as the standard says"},
    {0x6285, "warning, the selected file is in termination state"},
    {0x6286, "warning, no data from a sensor on the card"},
    {0x6287, "warning, at least one of the records is deactivated"},
    {0x6300, "warning, something was changed"},
    {0x6381, "warning, the last write filled the file up"},
    {0x63C0, "not verified, no tries left"},
    {0x63C1, "not verified, 1 try left"},
    {0x6400, "execution failed, nothing was changed"},
    {0x6401, "execution failed, the card needs an immediate response"},
    {0x6500, "execution failed, something was changed"},
    {0x6581, "execution failed, memory failure"},
    {0x6600, "execution failed, security issue"},
    {0x6700, "wrong length"},
    {0x6800, "function of the class byte not supported"},
    {0x6881, "logical channel not supported"},
    {0x6882, "secure messaging not supported"},
    {0x6883, "the last command of the chain was expected"},
    {0x6884, "command chaining not supported"},
    {0x6900, "command not allowed"},
    {0x6981, "command does not fit the file's structure"},
    {0x6982, "security status not satisfied: a PIN or key must be verified first"},
    {0x6983, "authentication method blocked: no tries left"},
    {0x6984, "reference data not usable"},
    {0x6985, "conditions of use not satisfied"},
    {0x6986, "command not allowed: no file is selected"},
    {0x6987, "secure messaging objects are missing"},
    {0x6988, "secure messaging objects are wrong"},
    {0x6A00, "wrong P1 or P2"},
    {0x6A80, "wrong parameters in the command's data"},
    {0x6A81, "function not supported"},
    {0x6A82, "file or application not found"},
    {0x6A83, "record not found"},
    {0x6A84, "not enough memory in the file"},
    {0x6A85, "length does not fit the TLV structure"},
    {0x6A86, "wrong P1 or P2"},
    {0x6A87, "length does not fit P1 and P2"},
    {0x6A88, "referenced data not found"},
    {0x6A89, "file exists already"},
    {0x6A8A, "application name exists already"},
    {0x6B00, "wrong P1 or P2: offset outside the file"},
    {0x6C00, "wrong Le: 256 or more bytes are there"},
    {0x6D00, "instruction not supported"},
    {0x6E00, "class not supported"},
    {0x6F00, "failed, no reason given"},
    {0x9000, "done"},
};

/// The meanings with a number in the second byte.
std::optional<std::string> counted(unsigned first, unsigned second) {
    const std::string count = std::to_string(second);
    const bool is_request = second >= 0x02 && second <= 0x80;
    switch (first) {
        case 0x61:
            return "done, " + count + " more bytes are waiting";
        case 0x62:
            if (is_request) return "warning, the card wants to be asked for " + count + " bytes";
            break;
        case 0x63:
            if (second >= 0xC2 && second <= 0xCF) {
                return "not verified, " + std::to_string(second & 0x0F) + " tries left";
            }
            break;
        case 0x64:
            if (is_request) return "stopped, the card wants to be asked for " + count + " bytes";
            break;
        case 0x6C:
            return "wrong Le: " + count + " bytes are there";
        default:
            break;
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::string> meaning(std::uint16_t status_word) {
    for (const Meaning& known : meanings) {
        if (known.status_word == status_word) return known.text;
    }
    return counted(status_word >> 8, status_word & 0xFF);
}

}  // namespace cardbroker
