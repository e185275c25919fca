// The one type that holds APDU bytes: wiped when destroyed, printed as a length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string_view>
#include <vector>

namespace cardbroker {

/// The bytes of a command or a response. They may be a PIN or a key, so `<<` writes their number only.
///
/// What gRPC holds while a call runs is not wiped.
class ApduBytes {
public:
    ApduBytes() = default;
    /// Exactly these bytes.
    ApduBytes(std::initializer_list<std::uint8_t> bytes) : bytes_(bytes) {}
    /// Takes these bytes over.
    ApduBytes(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
    /// A copy of `size` bytes.
    ApduBytes(const void* bytes, std::size_t size);
    /// From hexadecimal digits, two for each byte; spaces between bytes do not count.
    ///
    /// Throws std::invalid_argument, which does not repeat the text.
    static ApduBytes from_hex(std::string_view text);

    ApduBytes(const ApduBytes&) = default;
    ApduBytes(ApduBytes&&) noexcept = default;
    ApduBytes& operator=(ApduBytes other) noexcept;
    ~ApduBytes();

    // To read them, as of any container.
    const std::uint8_t* data() const noexcept { return bytes_.data(); }
    std::size_t size() const noexcept { return bytes_.size(); }
    bool empty() const noexcept { return bytes_.empty(); }
    const std::uint8_t* begin() const noexcept { return data(); }
    const std::uint8_t* end() const noexcept { return data() + size(); }
    std::uint8_t operator[](std::size_t index) const noexcept { return bytes_[index]; }

    friend bool operator==(const ApduBytes& left, const ApduBytes& right) noexcept {
        return left.bytes_ == right.bytes_;
    }
    friend bool operator!=(const ApduBytes& left, const ApduBytes& right) noexcept { return !(left == right); }

private:
    std::vector<std::uint8_t> bytes_;
};

/// Writes how many bytes there are: "13 bytes".
std::ostream& operator<<(std::ostream& out, const ApduBytes& bytes);

}  // namespace cardbroker
