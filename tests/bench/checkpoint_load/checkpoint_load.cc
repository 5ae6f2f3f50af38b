// How fast the matrix of each checkpoint format is read to the internal form, and all in all read,
// checked and packed for the kernels as a worker does it: seconds, and GB of the file per second.
// The file's bytes are in memory; a copy of them by the same threads is timed beside.
//   checkpoint_load [--rows N] [--columns K] [--threads T] [--repeat R] [--only TEXT]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <span>

#include "common/base/status.h"
#include "common/quant/formats/stack_form.h"
#include "common/runner/cpu/thread_pool.h"
#include "kernels/gemm/pack.h"
#include "kernels/numeric/formats.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr int64_t kGroup = 128;

struct Options {
  int64_t rows = 4096;
  int64_t columns = 14336;
  int threads = 2;
  int repeat = 5;
  std::string only;
};

struct Format {
  std::string name;
  std::string config;  // empty: an unquantized tensor, packed as `scheme`
  struct Tensor {
    std::string suffix;
    DataType type;
    std::vector<int64_t> shape;
  };
  std::vector<Tensor> tensors;
  kernels::WeightScheme scheme = kernels::WeightScheme::kFp16;
};

std::vector<Format> Formats(int64_t n, int64_t k) {
  const int64_t g = k / kGroup;
  const std::string awq = R"({"quant_method":"awq","bits":4,"group_size":128,"version":"gemm"})";
  const std::string gptq =
      R"({"quant_method":"gptq","bits":4,"group_size":128,"checkpoint_format":"gptq_v2"})";
  const auto compressed = [](const char* format, const char* weights, const char* inputs) {
    return fmt::format(
        R"({{"quant_method":"compressed-tensors","format":"{}","config_groups":{{"g":)"
        R"({{"targets":["Linear"],"weights":{},"input_activations":{}}}}}}})",
        format, weights, inputs);
  };
  const char* int8 = R"({"num_bits":8,"type":"int","strategy":"token","dynamic":true})";
  return {
      {"bf16, as bf16", "", {{"weight", DataType::kBf16, {n, k}}}, kernels::WeightScheme::kBf16},
      {"bf16, to fp16", "", {{"weight", DataType::kBf16, {n, k}}}},
      {"fp32, to fp16", "", {{"weight", DataType::kF32, {n, k}}}},
      {"AWQ gemm, int4 g128",
       awq,
       {{"qweight", DataType::kI32, {k, n / 8}},
        {"qzeros", DataType::kI32, {g, n / 8}},
        {"scales", DataType::kF16, {g, n}}}},
      {"GPTQ v2, int4 g128",
       gptq,
       {{"qweight", DataType::kI32, {k / 8, n}},
        {"qzeros", DataType::kI32, {g, n / 8}},
        {"scales", DataType::kF16, {g, n}}}},
      {"GPTQ v2, int8 g128, to fp16",
       R"({"quant_method":"gptq","bits":8,"group_size":128,"checkpoint_format":"gptq_v2"})",
       {{"qweight", DataType::kI32, {k / 4, n}},
        {"qzeros", DataType::kI32, {g, n / 4}},
        {"scales", DataType::kF16, {g, n}}}},
      {"pack-quantized, int4 g128 asymmetric",
       compressed("pack-quantized",
                  R"({"num_bits":4,"symmetric":false,"strategy":"group","group_size":128})",
                  "null"),
       {{"weight_packed", DataType::kI32, {n, k / 8}},
        {"weight_zero_point", DataType::kI32, {n / 8, g}},
        {"weight_scale", DataType::kBf16, {n, g}},
        {"weight_shape", DataType::kI64, {2}}}},
      {"int-quantized, int8 per row",
       compressed("int-quantized", R"({"num_bits":8,"strategy":"channel"})", int8),
       {{"weight", DataType::kI8, {n, k}}, {"weight_scale", DataType::kBf16, {n, 1}}}},
      {"fp8, one scale per row",
       R"({"quant_method":"fp8"})",
       {{"weight", DataType::kF8E4m3, {n, k}}, {"weight_scale", DataType::kF32, {n, 1}}}},
      {"fp8, blocks of 128 x 128, to fp16",
       R"({"quant_method":"fp8","weight_block_size":[128,128]})",
       {{"weight", DataType::kF8E4m3, {n, k}},
        {"weight_scale_inv", DataType::kF32, {(n + 127) / 128, (k + 127) / 128}}}},
  };
}

struct Bytes {
  std::vector<std::vector<std::byte>> held;
  TensorMap map;
  size_t total = 0;
};

// Weights of a usual size, a pattern of them over and over.
void FillWeights(DataType type, std::vector<std::byte>& data) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(0.0f, 0.02f);
  std::vector<std::byte> pattern;
  for (int i = 0; i < (1 << 16); ++i) {
    const float value = normal(random);
    const uint16_t half = kernels::Bf16FromFloat(value);
    const auto bytes = type == DataType::kF32 ? std::as_bytes(std::span(&value, 1))
                                              : std::as_bytes(std::span(&half, 1));
    pattern.insert(pattern.end(), bytes.begin(), bytes.end());
  }
  for (size_t at = 0; at < data.size(); at += pattern.size()) {
    std::memcpy(data.data() + at, pattern.data(), std::min(pattern.size(), data.size() - at));
  }
}

// Random codes; scales near 1/64, of one finite value.
Bytes Fill(const Format& format, const Options& options) {
  Bytes bytes;
  std::mt19937_64 random(1);
  for (const Format::Tensor& tensor : format.tensors) {
    size_t size = static_cast<size_t>(SizeOf(tensor.type));
    for (const int64_t s : tensor.shape) size *= static_cast<size_t>(s);
    std::vector<std::byte>& data = bytes.held.emplace_back(size, std::byte{0x3C});
    if (format.config.empty()) {
      FillWeights(tensor.type, data);
    } else if (tensor.suffix == "weight_shape") {
      const int64_t shape[] = {options.rows, options.columns};
      std::memcpy(data.data(), shape, sizeof(shape));
    } else if (tensor.suffix.find("scale") == std::string::npos) {
      for (size_t i = 0; i + 8 <= size; i += 8) {
        const uint64_t word = random() & 0x7777777777777777;
        std::memcpy(data.data() + i, &word, sizeof(word));
      }
    }
    bytes.map["m." + tensor.suffix] = {tensor.type, tensor.shape, data};
    bytes.total += size;
  }
  return bytes;
}

double SecondsOf(const std::function<void()>& work, int repeat) {
  std::vector<double> seconds;
  for (int i = 0; i < repeat; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + repeat / 2, seconds.end());
  return seconds[static_cast<size_t>(repeat / 2)];
}

// One matrix of a format, read and packed again and again.
class Load {
 public:
  Load(const Format& format, const Options& options, const RunParts& run)
      : format_(format), options_(options), run_(run), bytes_(Fill(format, options)) {}

  absl::Status Print() {
    if (!format_.config.empty()) {
      const nlohmann::json json = nlohmann::json::parse(format_.config);
      BATON_ASSIGN_OR_RETURN(reader_, MakeFormatReader(JsonFields(json, "")));
    }
    const double reading = SecondsOf([this] { Read(); }, options_.repeat);
    BATON_RETURN_IF_ERROR(status_);
    const double all = SecondsOf([this] { ReadAndPack(); }, options_.repeat);
    BATON_RETURN_IF_ERROR(status_);
    std::vector<std::byte> copy(bytes_.total);
    const double copying = SecondsOf([&] { Copy(copy); }, options_.repeat);
    const double gb = static_cast<double>(bytes_.total) * 1e-9;
    fmt::print("{:38} {:8.1f} {:9.4f} {:6.2f} {:9.4f} {:6.2f} {:9.4f} {:6.2f}\n", format_.name,
               gb * 1e3, reading, gb / reading, all, gb / all, copying, gb / copying);
    return absl::OkStatus();
  }

 private:
  LoadedWeight Read() {
    if (reader_ == nullptr) return {&bytes_.map.begin()->second, std::nullopt};
    auto weight =
        reader_->Read(ModuleTensors(bytes_.map, "m"), options_.rows, options_.columns, run_);
    if (!weight.ok()) status_ = weight.status();
    return {nullptr, weight.ok() ? *std::move(weight) : std::nullopt};
  }

  void ReadAndPack() {
    std::vector<LoadedWeight> parts;
    parts.push_back(Read());
    if (const TensorView* tensor = parts.front().dense) {
      kernels::WeightView view{.n = options_.rows, .k = options_.columns};
      view.dense = tensor->bytes.data();
      view.dense_type =
          tensor->type == DataType::kF32 ? kernels::ScalarType::kFp32 : kernels::ScalarType::kBf16;
      return Pack({&view, 1}, format_.scheme);
    }
    if (auto status = CheckQuantizedTensor(parts.front().quantized->tensor, "m", run_);
        !status.ok()) {
      status_ = status;
    }
    const StackForm form = NativeForm(std::move(parts), true, run_);
    Pack(form.views, form.scheme);
  }

  void Pack(std::span<const kernels::WeightView> views, kernels::WeightScheme scheme) {
    const kernels::PackResult packed = kernels::PackInParts(views, scheme, run_);
    if (!packed.problem.empty()) status_ = FailedPrecondition("{}", packed.problem);
  }

  void Copy(std::vector<std::byte>& to) const {
    run_([&](int part, int parts) {
      size_t at = 0;
      for (const auto& data : bytes_.held) {
        const auto share = kernels::Partition(static_cast<int64_t>(data.size()), part, parts);
        std::memcpy(to.data() + at + share.begin, data.data() + share.begin,
                    static_cast<size_t>(share.size()));
        at += data.size();
      }
    });
  }

  const Format& format_;
  const Options& options_;
  const RunParts& run_;
  const Bytes bytes_;
  std::unique_ptr<FormatReader> reader_;
  absl::Status status_;
};

absl::Status Run(const Options& options) {
  ThreadPool pool(options.threads);
  const RunParts run = [&pool](const auto& work) { pool.Run(work); };
  fmt::print("[{}, {}], {} threads, median of {}\n", options.rows, options.columns, options.threads,
             options.repeat);
  fmt::print("{:38} {:>8} {:>9} {:>6} {:>9} {:>6} {:>9} {:>6}\n", "format", "MB", "read s", "GB/s",
             "all s", "GB/s", "copy s", "GB/s");
  for (const Format& format : Formats(options.rows, options.columns)) {
    if (format.name.find(options.only) == std::string::npos) continue;
    BATON_RETURN_IF_ERROR(Load(format, options, run).Print());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  baton::Options options;
  CLI::App app("Speed of reading checkpoint formats");
  app.add_option("--rows", options.rows, "a multiple of 128")->check(CLI::Range(128, 1 << 20));
  app.add_option("--columns", options.columns, "a multiple of 128")
      ->check(CLI::Range(128, 1 << 20));
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 1024));
  app.add_option("--repeat", options.repeat)->check(CLI::Range(1, 1000));
  app.add_option("--only", options.only, "rows whose name has this text");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = baton::Run(options);
  if (!status.ok()) fmt::print(stderr, "{}\n", baton::ToString(status));
  return status.ok() ? 0 : 1;
}
