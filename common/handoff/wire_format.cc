#include "common/handoff/wire_format.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

struct Named {
  v1::KvFormat name;
  KvFormats formats;
};

constexpr Named kNamed[] = {
    {v1::KV_FORMAT_FP16, {KvFormat::kFp16, KvFormat::kFp16}},
    {v1::KV_FORMAT_BF16, {KvFormat::kBf16, KvFormat::kBf16}},
    {v1::KV_FORMAT_FP8_E4M3, {KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}},
    {v1::KV_FORMAT_FP8_E5M2, {KvFormat::kFp8E5m2, KvFormat::kFp8E5m2}},
    {v1::KV_FORMAT_INT8, {KvFormat::kInt8, KvFormat::kInt8}},
    {v1::KV_FORMAT_INT4, {KvFormat::kInt4, KvFormat::kInt4}},
    {v1::KV_FORMAT_K8V4, {KvFormat::kInt8, KvFormat::kInt4}},
};

}  // namespace

std::optional<KvFormats> KvFormatsOf(v1::KvFormat format) {
  for (const Named& named : kNamed) {
    if (named.name == format) return named.formats;
  }
  return std::nullopt;
}

v1::KvFormat KvFormatNamed(KvFormats formats) {
  for (const Named& named : kNamed) {
    if (named.formats == formats) return named.name;
  }
  return v1::KV_FORMAT_UNSPECIFIED;
}

}  // namespace baton
