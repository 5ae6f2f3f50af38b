#include "common/quant/formats/quant_format.h"

#include <array>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton {
namespace {

constexpr std::array kNames = {
    std::pair{QuantFormat::kCompressedTensors, std::string_view("compressed-tensors")},
    std::pair{QuantFormat::kAwq, std::string_view("awq")},
    std::pair{QuantFormat::kGptq, std::string_view("gptq")},
    std::pair{QuantFormat::kFp8, std::string_view("fp8")},
    std::pair{QuantFormat::kFbgemmFp8, std::string_view("fbgemm_fp8")},
    std::pair{QuantFormat::kBitsAndBytes, std::string_view("bitsandbytes")},
    std::pair{QuantFormat::kHqq, std::string_view("hqq")},
    std::pair{QuantFormat::kGguf, std::string_view("gguf")},
};

}  // namespace

std::string_view NameOf(QuantFormat format) {
  for (const auto& [known, name] : kNames) {
    if (known == format) return name;
  }
  BATON_CHECK(false && "every QuantFormat has a name");
  return "";
}

absl::StatusOr<QuantFormat> DetectFormat(const JsonFields& config) {
  // Files from before "quant_method": AutoAWQ's with its short keys, AutoGPTQ's.
  std::string fallback;
  if (config.Has("w_bit") || config.Has("zero_point")) fallback = "awq";
  if (config.Has("desc_act")) fallback = "gptq";
  BATON_ASSIGN_OR_RETURN(const std::string method, config.String("quant_method", fallback));
  for (const auto& [format, name] : kNames) {
    if (name == method) return format;
  }
  return Unimplemented(
      "{}quant_method: '{}', expected compressed-tensors, awq, gptq, fp8, fbgemm_fp8, "
      "bitsandbytes or hqq",
      config.prefix(), method);
}

}  // namespace baton
