// How fast the matrix of each checkpoint format is read to the internal form, and from there packed
// for the kernels: seconds, and GB of the file per second. The file's bytes are in memory; a copy
// of them is timed beside.
//   checkpoint_load [--rows N] [--columns K] [--threads T] [--repeat R]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "common/base/status.h"
#include "common/quant/formats/stack_form.h"
#include "common/runner/cpu/thread_pool.h"
#include "kernels/gemm/pack.h"

namespace baton {
namespace {

constexpr int64_t kGroup = 128;

struct Options {
  int64_t rows = 4096;
  int64_t columns = 14336;
  int threads = 2;
  int repeat = 5;
};

struct Format {
  std::string name;
  std::string config;
  struct Tensor {
    std::string suffix;
    DataType type;
    std::vector<int64_t> shape;
  };
  std::vector<Tensor> tensors;
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
      {"fp8, blocks of 128 x 128",
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

// Random codes; scales near 1/64, of one finite value.
Bytes Fill(const Format& format, const Options& options) {
  Bytes bytes;
  std::mt19937_64 random(1);
  for (const Format::Tensor& tensor : format.tensors) {
    size_t size = static_cast<size_t>(SizeOf(tensor.type));
    for (const int64_t s : tensor.shape) size *= static_cast<size_t>(s);
    std::vector<std::byte>& data = bytes.held.emplace_back(size, std::byte{0x3C});
    if (tensor.suffix == "weight_shape") {
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

absl::Status Run(const Options& options) {
  ThreadPool pool(options.threads);
  const RunParts run = [&pool](const auto& work) { pool.Run(work); };
  fmt::print("[{}, {}], {} threads, median of {}\n", options.rows, options.columns, options.threads,
             options.repeat);
  fmt::print("{:38} {:>8} {:>9} {:>6} {:>9} {:>6} {:>9} {:>6}\n", "format", "MB", "read s", "GB/s",
             "all s", "GB/s", "copy s", "GB/s");
  for (const Format& format : Formats(options.rows, options.columns)) {
    const Bytes bytes = Fill(format, options);
    const nlohmann::json json = nlohmann::json::parse(format.config);
    BATON_ASSIGN_OR_RETURN(const auto reader, MakeFormatReader(JsonFields(json, "")));
    absl::Status status;
    const auto read = [&]() -> LoadedWeight {
      auto weight = reader->Read(ModuleTensors(bytes.map, "m"), options.rows, options.columns, run);
      if (!weight.ok()) status = weight.status();
      return {nullptr, weight.ok() ? *std::move(weight) : std::nullopt};
    };
    const double reading = SecondsOf([&] { read(); }, options.repeat);
    BATON_RETURN_IF_ERROR(status);
    const double all = SecondsOf(
        [&] {
          std::vector<LoadedWeight> parts;
          parts.push_back(read());
          const StackForm form = NativeForm(std::move(parts), true, run);
          kernels::PackInParts(form.views, form.scheme, run);
        },
        options.repeat);
    std::vector<std::byte> copy(bytes.total);
    const double copying = SecondsOf(
        [&] {
          size_t at = 0;
          for (const auto& data : bytes.held) {
            std::memcpy(copy.data() + at, data.data(), data.size());
            at += data.size();
          }
        },
        options.repeat);
    const double gb = static_cast<double>(bytes.total) * 1e-9;
    fmt::print("{:38} {:8.1f} {:9.4f} {:6.2f} {:9.4f} {:6.2f} {:9.4f} {:6.2f}\n", format.name,
               gb * 1e3, reading, gb / reading, all, gb / all, copying, gb / copying);
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
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = baton::Run(options);
  if (!status.ok()) fmt::print(stderr, "{}\n", baton::ToString(status));
  return status.ok() ? 0 : 1;
}
