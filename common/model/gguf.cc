#include "common/model/gguf.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <tuple>
#include <utility>

#include "common/base/status.h"
#include "common/model/json.h"

namespace baton {
namespace {

constexpr std::array<GgufType, 11> kTypes = {{
    {0, "F32", 1, 4},
    {1, "F16", 1, 2},
    {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},
    {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},
    {12, "Q4_K", 256, 144},
    {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},
    {30, "BF16", 1, 2},
}};
constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxNameBytes = 1024;
constexpr uint64_t kMaxStringBytes = 1 << 20;
constexpr uint64_t kMaxElements = 1 << 24;  // of an array
constexpr uint32_t kMaxRank = 4;
constexpr int64_t kDefaultAlignment = 32;
constexpr int64_t kMaxAlignment = 1 << 20;

// Types of metadata values, by their numbers in the file.
enum ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

bool IsInteger(uint32_t type) { return type <= kInt32 || type == kUint64 || type == kInt64; }

// Reads the file from its start; every read is checked against its end.
class Parser {
 public:
  Parser(std::span<const std::byte> file, std::string_view what) : file_(file), what_(what) {}

  absl::StatusOr<GgufContent> Run() {
    BATON_ASSIGN_OR_RETURN(const uint64_t tensors, ReadHeader());
    for (uint64_t i = 0; i < keys_; ++i) BATON_RETURN_IF_ERROR(ReadPair());
    BATON_RETURN_IF_ERROR(CheckMetadata());
    for (uint64_t i = 0; i < tensors; ++i) BATON_RETURN_IF_ERROR(ReadTensorInfo());
    BATON_RETURN_IF_ERROR(PlaceTensors());
    return std::move(content_);
  }

 private:
  template <typename... Args>
  absl::Status Wrong(fmt::format_string<Args...> format, Args&&... args) const {
    return InvalidArgument("{}: {}", what_, fmt::format(format, std::forward<Args>(args)...));
  }
  uint64_t rest() const { return file_.size() - at_; }

  template <typename T>
  absl::StatusOr<T> Number() {
    if (rest() < sizeof(T)) return Wrong("ends at byte {}, expected more", file_.size());
    T value;
    std::memcpy(&value, file_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  absl::StatusOr<std::string_view> Text(uint64_t max_bytes) {
    BATON_ASSIGN_OR_RETURN(const uint64_t bytes, Number<uint64_t>());
    if (bytes > rest() || bytes > max_bytes) {
      return Wrong("string of {} bytes at byte {}, expected at most {}", bytes, at_,
                   std::min(rest(), max_bytes));
    }
    const std::string_view text(reinterpret_cast<const char*>(file_.data()) + at_, bytes);
    at_ += bytes;
    return text;
  }

  // The number of tensors.
  absl::StatusOr<uint64_t> ReadHeader() {
    if (file_.size() < kMagic.size() ||
        std::memcmp(file_.data(), kMagic.data(), kMagic.size()) != 0) {
      return Wrong("does not start with {}", kMagic);
    }
    at_ = kMagic.size();
    BATON_ASSIGN_OR_RETURN(const uint32_t version, Number<uint32_t>());
    if (version != 2 && version != 3) {
      return Unimplemented("{}: version {}, expected 2 or 3, little-endian", what_, version);
    }
    BATON_ASSIGN_OR_RETURN(const uint64_t tensors, Number<uint64_t>());
    BATON_ASSIGN_OR_RETURN(keys_, Number<uint64_t>());
    if (tensors > kMaxTensors || keys_ > kMaxKeys) {
      return Wrong("{} tensors and {} keys, expected at most {} and {}", tensors, keys_,
                   kMaxTensors, kMaxKeys);
    }
    return tensors;
  }

  absl::Status ReadPair() {
    BATON_ASSIGN_OR_RETURN(const std::string_view key, Text(kMaxNameBytes));
    if (!names_.insert(key).second) return Wrong("key '{}' is given twice", key);
    BATON_ASSIGN_OR_RETURN(const uint32_t type, Number<uint32_t>());
    if (type == kArray) return ReadArray(std::string(key));
    BATON_ASSIGN_OR_RETURN(nlohmann::json value, ReadScalar(key, type));
    content_.metadata[std::string(key)] = std::move(value);
    return absl::OkStatus();
  }

  absl::StatusOr<nlohmann::json> ReadScalar(std::string_view key, uint32_t type) {
    switch (type) {
      case kFloat32: {
        BATON_ASSIGN_OR_RETURN(const float value, Number<float>());
        return nlohmann::json(value);
      }
      case kFloat64: {
        BATON_ASSIGN_OR_RETURN(const double value, Number<double>());
        return nlohmann::json(value);
      }
      case kBool: {
        BATON_ASSIGN_OR_RETURN(const uint8_t value, Number<uint8_t>());
        return nlohmann::json(value != 0);
      }
      case kString: {
        BATON_ASSIGN_OR_RETURN(const std::string_view value, Text(kMaxStringBytes));
        return nlohmann::json(std::string(value));
      }
      default:
        break;
    }
    if (!IsInteger(type)) {
      return Wrong("key '{}': value of type {}, expected 0 to {}", key, type, uint32_t{kFloat64});
    }
    BATON_ASSIGN_OR_RETURN(const int64_t value, ReadInteger(type));
    // The only numbers that do not fit 64 bits with a sign.
    if (type == kUint64 && value < 0) return nlohmann::json(static_cast<uint64_t>(value));
    return nlohmann::json(value);
  }

  absl::StatusOr<int64_t> ReadInteger(uint32_t type) {
    const auto widened = [](const auto& number) -> absl::StatusOr<int64_t> {
      if (!number.ok()) return number.status();
      return static_cast<int64_t>(*number);
    };
    switch (type) {
      case kUint8:
        return widened(Number<uint8_t>());
      case kInt8:
        return widened(Number<int8_t>());
      case kUint16:
        return widened(Number<uint16_t>());
      case kInt16:
        return widened(Number<int16_t>());
      case kUint32:
        return widened(Number<uint32_t>());
      case kInt32:
        return widened(Number<int32_t>());
      default:
        return widened(Number<int64_t>());
    }
  }

  absl::Status ReadArray(std::string key) {
    BATON_ASSIGN_OR_RETURN(const uint32_t type, Number<uint32_t>());
    BATON_ASSIGN_OR_RETURN(const uint64_t count, Number<uint64_t>());
    constexpr std::array<uint64_t, 13> kLeastBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
    if (type >= kLeastBytes.size() || kLeastBytes[type] == 0) {
      return Wrong("key '{}': array of type {}, expected numbers, strings or booleans", key, type);
    }
    if (count > kMaxElements || count > rest() / kLeastBytes[type]) {
      return Wrong("key '{}': array of {} elements, expected at most {}", key, count,
                   std::min(kMaxElements, rest() / kLeastBytes[type]));
    }
    if (type == kString) {
      std::vector<std::string_view>& strings = content_.string_arrays[std::move(key)];
      for (uint64_t i = 0; i < count; ++i) {
        BATON_ASSIGN_OR_RETURN(const std::string_view text, Text(kMaxStringBytes));
        strings.push_back(text);
      }
    } else if (IsInteger(type)) {
      std::vector<int64_t>& numbers = content_.integer_arrays[std::move(key)];
      for (uint64_t i = 0; i < count; ++i) {
        BATON_ASSIGN_OR_RETURN(const int64_t number, ReadInteger(type));
        numbers.push_back(number);
      }
    } else {
      at_ += count * kLeastBytes[type];
    }
    return absl::OkStatus();
  }

  absl::Status CheckMetadata() {
    if (!content_.metadata.is_object()) content_.metadata = nlohmann::json::object();
    const JsonFields fields(content_.metadata, what_ + ": ");
    BATON_ASSIGN_OR_RETURN(alignment_,
                           fields.Int("general.alignment", 1, kMaxAlignment, kDefaultAlignment));
    if ((alignment_ & (alignment_ - 1)) != 0) {
      return Wrong("general.alignment: {}, expected a power of two", alignment_);
    }
    BATON_ASSIGN_OR_RETURN(const int64_t parts, fields.Int("split.count", 0, 1 << 16, 0));
    if (parts > 1) {
      return Unimplemented("{}: split.count: {}, expected a file that is whole", what_, parts);
    }
    names_.clear();
    return absl::OkStatus();
  }

  // Leaves the offset in the data section in offsets_.
  absl::Status ReadTensorInfo() {
    BATON_ASSIGN_OR_RETURN(const std::string_view name, Text(kMaxNameBytes));
    if (!names_.insert(name).second) return Wrong("tensor '{}' is given twice", name);
    GgufTensor tensor{.name = std::string(name)};
    BATON_ASSIGN_OR_RETURN(const uint32_t rank, Number<uint32_t>());
    if (rank < 1 || rank > kMaxRank) {
      return Wrong("tensor '{}': {} dimensions, expected 1 to {}", name, rank, kMaxRank);
    }
    uint64_t count = 1;
    for (uint32_t i = 0; i < rank; ++i) {
      BATON_ASSIGN_OR_RETURN(const uint64_t size, Number<uint64_t>());
      if (size == 0 || __builtin_mul_overflow(count, size, &count) || count > (1ull << 60)) {
        return Wrong("tensor '{}': dimension {} of {}, expected a size that can be", name, i, size);
      }
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    BATON_ASSIGN_OR_RETURN(const uint32_t type, Number<uint32_t>());
    tensor.type = FindGgufType(type);
    if (tensor.type == nullptr) {
      std::vector<std::string_view> read;
      for (const GgufType& known : kTypes) read.push_back(known.name);
      return Unimplemented("{}: tensor '{}': type {}, expected one of {}", what_, name, type,
                           fmt::join(read, ", "));
    }
    if (tensor.shape.back() % tensor.type->values != 0) {
      return Wrong("tensor '{}': rows of {} values, expected a multiple of {} for {}", name,
                   tensor.shape.back(), tensor.type->values, tensor.type->name);
    }
    BATON_ASSIGN_OR_RETURN(const uint64_t offset, Number<uint64_t>());
    if (offset % static_cast<uint64_t>(alignment_) != 0) {
      return Wrong("tensor '{}': offset {}, expected a multiple of {}", name, offset, alignment_);
    }
    const uint64_t blocks = count / static_cast<uint64_t>(tensor.type->values);
    const uint64_t bytes = blocks * static_cast<uint64_t>(tensor.type->bytes);
    if (blocks > file_.size() || bytes > file_.size() || offset > file_.size() - bytes) {
      return Wrong("tensor '{}': {} values at offset {}, expected them in a file of {} bytes", name,
                   count, offset, file_.size());
    }
    placed_.push_back({offset, bytes, content_.tensors.size()});
    content_.tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  absl::Status PlaceTensors() {
    const auto alignment = static_cast<uint64_t>(alignment_);
    const uint64_t start = (at_ + alignment - 1) / alignment * alignment;
    const uint64_t size = start < file_.size() ? file_.size() - start : 0;
    std::sort(placed_.begin(), placed_.end());
    uint64_t end = 0;
    for (const auto& [offset, bytes, index] : placed_) {
      GgufTensor& tensor = content_.tensors[index];
      if (offset < end || bytes > size || offset > size - bytes) {
        return Wrong("tensor '{}': bytes {} to {} of the data, expected between {} and {}",
                     tensor.name, offset, offset + bytes, end, size);
      }
      end = offset + bytes;
      tensor.bytes = file_.subspan(start + offset, bytes);
    }
    return absl::OkStatus();
  }

  std::span<const std::byte> file_;
  std::string what_;
  size_t at_ = 0;
  uint64_t keys_ = 0;
  int64_t alignment_ = kDefaultAlignment;
  std::set<std::string_view> names_;  // seen so far, of keys or of tensors
  std::vector<std::tuple<uint64_t, uint64_t, size_t>> placed_;  // offset, bytes, tensor
  GgufContent content_;
};

}  // namespace

const GgufType* FindGgufType(uint32_t id) {
  const auto it = std::find_if(kTypes.begin(), kTypes.end(),
                               [id](const GgufType& type) { return type.id == id; });
  return it == kTypes.end() ? nullptr : &*it;
}

const GgufType* FindGgufType(std::string_view name) {
  const auto it = std::find_if(kTypes.begin(), kTypes.end(),
                               [name](const GgufType& type) { return type.name == name; });
  return it == kTypes.end() ? nullptr : &*it;
}

std::optional<DataType> DataTypeOf(const GgufType& type) {
  if (type.name == "F32") return DataType::kF32;
  if (type.name == "F16") return DataType::kF16;
  if (type.name == "BF16") return DataType::kBf16;
  return std::nullopt;
}

const GgufTensor* GgufContent::Find(std::string_view name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [name](const GgufTensor& tensor) { return tensor.name == name; });
  return it == tensors.end() ? nullptr : &*it;
}

absl::StatusOr<GgufContent> ParseGguf(std::span<const std::byte> file, std::string_view what) {
  return Parser(file, what).Run();
}

}  // namespace baton
