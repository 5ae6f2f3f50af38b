#include "kernels/kv_page/kv_format.h"

namespace baton::kernels {
namespace {

constexpr KvFormat kAll[] = {KvFormat::kFp16,    KvFormat::kBf16, KvFormat::kFp8E4m3,
                             KvFormat::kFp8E5m2, KvFormat::kInt8, KvFormat::kInt4};
constexpr KvFormats kK8V4 = {KvFormat::kInt8, KvFormat::kInt4};
constexpr std::string_view kK8V4Name = "k8v4";

}  // namespace

std::string_view KvFormatName(KvFormat format) {
  switch (format) {
    case KvFormat::kFp16:
      return "fp16";
    case KvFormat::kBf16:
      return "bf16";
    case KvFormat::kFp8E4m3:
      return "fp8_e4m3";
    case KvFormat::kFp8E5m2:
      return "fp8_e5m2";
    case KvFormat::kInt8:
      return "int8";
    case KvFormat::kInt4:
      return "int4";
  }
  return "invalid";
}

std::string KvFormatsName(KvFormats formats) {
  if (formats == kK8V4) return std::string(kK8V4Name);
  std::string name(KvFormatName(formats.k));
  if (formats.v != formats.k) {
    name += '+';
    name += KvFormatName(formats.v);
  }
  return name;
}

std::optional<KvFormats> ParseKvFormats(std::string_view name) {
  if (name == kK8V4Name) return kK8V4;
  for (const KvFormat format : kAll) {
    if (name == KvFormatName(format)) return KvFormats{format, format};
  }
  return std::nullopt;
}

std::optional<KvFormat> KvFormatFromCode(uint8_t code) {
  for (const KvFormat format : kAll) {
    if (code == static_cast<uint8_t>(format)) return format;
  }
  return std::nullopt;
}

}  // namespace baton::kernels
