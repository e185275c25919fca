// The type for APDU bytes: wiped when destroyed, never printed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string_view>
#include <vector>

namespace cardbroker {

/// The bytes of a command or a response. They may contain a PIN or a key, so `<<` shows neither them nor their number.
///
/// The buffers of gRPC and protobuf during a call are not wiped.
class ApduBytes {
public:
    ApduBytes() = default;
    /// Makes a copy of these bytes.
    ApduBytes(std::initializer_list<std::uint8_t> bytes) : bytes_(bytes) {}
    /// Takes ownership of these bytes.
    ApduBytes(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
    /// Makes a copy of `size` bytes at `bytes`.
    ApduBytes(const void* bytes, std::size_t size);
    /// Reads hexadecimal digits, two for each byte; ignores spaces between bytes.
    ///
    /// Throws std::invalid_argument without the text itself.
    static ApduBytes from_hex(std::string_view text);

    ApduBytes(const ApduBytes&) = default;
    ApduBytes(ApduBytes&&) noexcept = default;
    ApduBytes& operator=(ApduBytes other) noexcept;
    ~ApduBytes();

    // The read access of a container.
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

/// Writes "[redacted]": the number of bytes may tell the length of a PIN.
std::ostream& operator<<(std::ostream& out, const ApduBytes& bytes);

}  // namespace cardbroker
