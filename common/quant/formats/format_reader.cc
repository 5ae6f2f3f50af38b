#include "common/quant/formats/format_reader.h"

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/quant/formats/awq.h"
#include "common/quant/formats/bitsandbytes.h"
#include "common/quant/formats/compressed_tensors.h"
#include "common/quant/formats/fp8.h"
#include "common/quant/formats/gguf.h"
#include "common/quant/formats/gptq.h"
#include "common/quant/formats/hqq.h"

namespace baton {

absl::StatusOr<std::unique_ptr<FormatReader>> MakeFormatReader(const JsonFields& config) {
  BATON_ASSIGN_OR_RETURN(const QuantFormat format, DetectFormat(config));
  switch (format) {
    case QuantFormat::kCompressedTensors:
      return MakeCompressedTensorsReader(config);
    case QuantFormat::kAwq:
      return MakeAwqReader(config);
    case QuantFormat::kGptq:
      return MakeGptqReader(config);
    case QuantFormat::kFp8:
      return MakeFp8Reader(config);
    case QuantFormat::kFbgemmFp8:
      return MakeFbgemmFp8Reader(config);
    case QuantFormat::kBitsAndBytes:
      return MakeBitsAndBytesReader(config);
    case QuantFormat::kHqq:
      return MakeHqqReader(config);
    case QuantFormat::kGguf:
      return MakeGgufReader(config);
  }
  BATON_CHECK(false && "every QuantFormat has a reader");
  return nullptr;
}

}  // namespace baton
