#include "common/model/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/model/json.h"

namespace baton {
namespace {

constexpr size_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own reader
constexpr int kMaxHeaderDepth = 4;
constexpr size_t kMaxRank = 8;
constexpr size_t kMaxNameBytes = 1024;

struct TypeRow {
  DataType type;
  int size;
  std::string_view name;
};

constexpr std::array kTypes = {
    TypeRow{DataType::kBool, 1, "BOOL"},      TypeRow{DataType::kU8, 1, "U8"},
    TypeRow{DataType::kI8, 1, "I8"},          TypeRow{DataType::kF8E4m3, 1, "F8_E4M3"},
    TypeRow{DataType::kF8E5m2, 1, "F8_E5M2"}, TypeRow{DataType::kI16, 2, "I16"},
    TypeRow{DataType::kU16, 2, "U16"},        TypeRow{DataType::kF16, 2, "F16"},
    TypeRow{DataType::kBf16, 2, "BF16"},      TypeRow{DataType::kI32, 4, "I32"},
    TypeRow{DataType::kU32, 4, "U32"},        TypeRow{DataType::kF32, 4, "F32"},
    TypeRow{DataType::kI64, 8, "I64"},        TypeRow{DataType::kU64, 8, "U64"},
    TypeRow{DataType::kF64, 8, "F64"},
};

const TypeRow& RowOf(DataType type) {
  const auto row = std::find_if(kTypes.begin(), kTypes.end(),
                                [type](const TypeRow& r) { return r.type == type; });
  BATON_CHECK(row != kTypes.end());
  return *row;
}

std::optional<uint64_t> AsUnsigned(const nlohmann::json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<uint64_t>();
}

struct Range {
  uint64_t begin;
  uint64_t end;
};

absl::StatusOr<DataType> ReadType(const nlohmann::json& entry, std::string_view where) {
  const auto it = entry.find("dtype");
  if (it != entry.end() && it->is_string()) {
    for (const TypeRow& row : kTypes) {
      if (row.name == it->get_ref<const std::string&>()) return row.type;
    }
  }
  return InvalidArgument("{}: dtype {}, expected a type such as BF16, F16 or F32", where,
                         it == entry.end() ? "missing" : ShortJson(*it));
}

absl::StatusOr<std::vector<int64_t>> ReadShape(const nlohmann::json& entry,
                                               std::string_view where) {
  const auto it = entry.find("shape");
  if (it == entry.end() || !it->is_array() || it->size() > kMaxRank) {
    return InvalidArgument("{}: shape {}, expected an array of at most {} sizes", where,
                           it == entry.end() ? "missing" : ShortJson(*it), kMaxRank);
  }
  std::vector<int64_t> shape;
  for (const nlohmann::json& size : *it) {
    const std::optional<uint64_t> value = AsUnsigned(size);
    if (!value || *value > static_cast<uint64_t>(INT64_MAX)) {
      return InvalidArgument("{}: shape {}, expected sizes from 0 to 2^63 - 1", where,
                             ShortJson(*it));
    }
    shape.push_back(static_cast<int64_t>(*value));
  }
  return shape;
}

absl::StatusOr<Range> ReadOffsets(const nlohmann::json& entry, uint64_t data_bytes,
                                  std::string_view where) {
  const auto it = entry.find("data_offsets");
  if (it != entry.end() && it->is_array() && it->size() == 2) {
    const std::optional<uint64_t> begin = AsUnsigned((*it)[0]);
    const std::optional<uint64_t> end = AsUnsigned((*it)[1]);
    if (begin && end && *begin <= *end && *end <= data_bytes) return Range{*begin, *end};
  }
  return InvalidArgument("{}: data_offsets {}, expected [begin, end] within {} bytes of data",
                         where, it == entry.end() ? "missing" : ShortJson(*it), data_bytes);
}

std::optional<uint64_t> ByteSize(const std::vector<int64_t>& shape, DataType type) {
  uint64_t bytes = static_cast<uint64_t>(SizeOf(type));
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) return std::nullopt;
  }
  return bytes;
}

struct Placed {
  NamedTensor tensor;
  Range range;
};

absl::StatusOr<Placed> ReadTensor(const std::string& name, const nlohmann::json& entry,
                                  std::span<const std::byte> data, std::string_view what) {
  if (name.size() > kMaxNameBytes) {
    return InvalidArgument("{}: tensor name of {} bytes, expected at most {}", what, name.size(),
                           kMaxNameBytes);
  }
  const std::string where = fmt::format("{}: tensor '{}'", what, name);
  if (!entry.is_object()) {
    return InvalidArgument("{}: {}, expected an object", where, ShortJson(entry));
  }
  Placed placed;
  placed.tensor.name = name;
  BATON_ASSIGN_OR_RETURN(placed.tensor.view.type, ReadType(entry, where));
  BATON_ASSIGN_OR_RETURN(placed.tensor.view.shape, ReadShape(entry, where));
  BATON_ASSIGN_OR_RETURN(placed.range, ReadOffsets(entry, data.size(), where));
  const std::optional<uint64_t> bytes = ByteSize(placed.tensor.view.shape, placed.tensor.view.type);
  const uint64_t given = placed.range.end - placed.range.begin;
  if (!bytes || *bytes != given) {
    return InvalidArgument("{}: {} bytes of data, expected {} for {} {}", where, given,
                           bytes ? fmt::to_string(*bytes) : "a size that overflows 64 bits",
                           NameOf(placed.tensor.view.type), ShortJson(entry["shape"]));
  }
  placed.tensor.view.bytes = data.subspan(placed.range.begin, given);
  return placed;
}

// Sorted by offset, tensors must follow one another from the first byte to the last.
absl::Status CheckPlacement(std::vector<Placed>& tensors, uint64_t data_bytes,
                            std::string_view what) {
  std::sort(tensors.begin(), tensors.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.range.begin, a.range.end) < std::pair(b.range.begin, b.range.end);
  });
  uint64_t expected = 0;
  for (const Placed& placed : tensors) {
    if (placed.range.begin != expected) {
      return InvalidArgument("{}: tensor '{}': data starts at {}, expected {} ({})", what,
                             placed.tensor.name, placed.range.begin, expected,
                             placed.range.begin < expected ? "it overlaps the tensor before it"
                                                           : "bytes before it belong to no tensor");
    }
    expected = placed.range.end;
  }
  if (expected != data_bytes) {
    return InvalidArgument("{}: {} bytes of data, expected {} (the end of the last tensor)", what,
                           data_bytes, expected);
  }
  return absl::OkStatus();
}

}  // namespace

int SizeOf(DataType type) { return RowOf(type).size; }
std::string_view NameOf(DataType type) { return RowOf(type).name; }

absl::StatusOr<std::vector<NamedTensor>> ParseSafetensors(std::span<const std::byte> file,
                                                          std::string_view what) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes)) {
    return InvalidArgument("{}: {} bytes, expected at least {}", what, file.size(),
                           sizeof(header_bytes));
  }
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const uint64_t rest = file.size() - sizeof(header_bytes);
  if (header_bytes > rest || header_bytes > kMaxHeaderBytes) {
    return InvalidArgument("{}: header of {} bytes, expected at most {}", what, header_bytes,
                           std::min<uint64_t>(rest, kMaxHeaderBytes));
  }
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + sizeof(header_bytes),
                                header_bytes);
  BATON_ASSIGN_OR_RETURN(const nlohmann::json entries,
                         ParseJsonObject(header, what, {kMaxHeaderBytes, kMaxHeaderDepth}));
  const std::span<const std::byte> data = file.subspan(sizeof(header_bytes) + header_bytes);
  std::vector<Placed> placed;
  for (const auto& [name, entry] : entries.items()) {
    if (name == "__metadata__") continue;
    BATON_ASSIGN_OR_RETURN(Placed tensor, ReadTensor(name, entry, data, what));
    placed.push_back(std::move(tensor));
  }
  BATON_RETURN_IF_ERROR(CheckPlacement(placed, data.size(), what));
  std::vector<NamedTensor> tensors;
  tensors.reserve(placed.size());
  for (Placed& p : placed) tensors.push_back(std::move(p.tensor));
  return tensors;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  BATON_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  BATON_ASSIGN_OR_RETURN(std::vector<NamedTensor> tensors,
                         ParseSafetensors(file.bytes(), path.filename().string()));
  return SafetensorsFile(std::move(file), std::move(tensors));
}

}  // namespace baton
