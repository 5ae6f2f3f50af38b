// Tokens per second of the CPU engine: prefill of 512 tokens, decode of 1 and 8 sequences at depth
// 0 and 512, for each weight format and KV format.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>

#include "common/base/status.h"
#include "kernels/gemm/gemm.h"
#include "tests/bench/engine_cpu/measure.h"

namespace baton::bench {
namespace {

constexpr const char* kUsage =
    "engine_cpu --model DIR [--weights fp32,fp16,w8a8,w8a8-fp8,w4a16,w4a8,auto] [--kv fp16,int8]\n"
    "           [--threads N] [--repeat 9] [--page-tokens 64] [--time wall|cpu]\n"
    "           [--workloads pp512,tg64@0,tg64@512,8xtg64@0,8xtg64@512] [--output text|json]\n"
    "Prints tokens/s: the median of the repetitions, after one that is not counted, and their\n"
    "range. pp: prefill of that many tokens; tg: tokens decoded at that depth, by that many\n"
    "sequences. --time cpu counts CPU time of one thread (--threads 1): steady on a machine that\n"
    "does other work.\n";

struct Column {
  const char* name;
  Workload workload;
};

constexpr std::array kColumns = {
    Column{"pp512", {.sequences = 1, .depth = 0, .tokens = 512, .steps = 1}},
    Column{"tg64@0", {.sequences = 1, .depth = 0, .tokens = 1, .steps = 64}},
    Column{"tg64@512", {.sequences = 1, .depth = 512, .tokens = 1, .steps = 64}},
    Column{"8xtg64@0", {.sequences = 8, .depth = 0, .tokens = 1, .steps = 64}},
    Column{"8xtg64@512", {.sequences = 8, .depth = 512, .tokens = 1, .steps = 64}},
};

struct Flags {
  std::string model;
  std::vector<WeightFormat> weights;
  std::vector<kernels::KvFormats> kv;
  std::vector<Column> columns;
  int threads = 1;
  int repeat = 9;
  int page_tokens = 64;
  TimeBase time = TimeBase::kWall;
  bool json = false;
};

std::vector<std::string> Split(const std::string& list) {
  std::vector<std::string> items;
  std::stringstream stream(list);
  for (std::string item; std::getline(stream, item, ',');) items.push_back(item);
  return items;
}

absl::StatusOr<int> PositiveInt(const std::string& flag, const std::string& value) {
  const long number = std::strtol(value.c_str(), nullptr, 10);
  if (number < 1 || number > 100000) {
    return InvalidArgument("{}: '{}', expected an integer from 1 to 100000", flag, value);
  }
  return static_cast<int>(number);
}

absl::StatusOr<std::vector<Column>> ParseColumns(const std::string& list) {
  if (list.empty()) return std::vector<Column>(kColumns.begin(), kColumns.end());
  std::vector<Column> columns;
  for (const std::string& name : Split(list)) {
    const auto named = [&](const Column& column) { return column.name == name; };
    const auto found = std::find_if(kColumns.begin(), kColumns.end(), named);
    if (found == kColumns.end()) {
      return InvalidArgument("--workloads: '{}', expected a workload (--help lists them)", name);
    }
    columns.push_back(*found);
  }
  return columns;
}

absl::StatusOr<Flags> ParseFlags(int argc, char** argv) {
  std::map<std::string, std::string> values = {
      {"--model", ""},
      {"--weights", "fp32,fp16,w8a8,w4a16,w4a8"},
      {"--kv", "fp16,int8"},
      {"--threads", std::to_string(std::max(1u, std::thread::hardware_concurrency()))},
      {"--repeat", "9"},
      {"--page-tokens", "64"},
      {"--time", "wall"},
      {"--workloads", ""},
      {"--output", "text"}};
  for (int i = 1; i < argc; i += 2) {
    const auto it = values.find(argv[i]);
    if (it == values.end() || i + 1 == argc) {
      return InvalidArgument("{}: unknown flag or missing value\n{}", argv[i], kUsage);
    }
    it->second = argv[i + 1];
  }
  Flags flags{.model = values["--model"], .json = values["--output"] == "json"};
  if (flags.model.empty()) return InvalidArgument("--model: missing\n{}", kUsage);
  for (const std::string& name : Split(values["--weights"])) {
    BATON_ASSIGN_OR_RETURN(const WeightFormat format, ParseWeightFormat(name));
    flags.weights.push_back(format);
  }
  for (const std::string& name : Split(values["--kv"])) {
    const auto formats = kernels::ParseKvFormats(name);
    if (!formats) return InvalidArgument("--kv: '{}', expected a KV format", name);
    flags.kv.push_back(*formats);
  }
  BATON_ASSIGN_OR_RETURN(flags.threads, PositiveInt("--threads", values["--threads"]));
  BATON_ASSIGN_OR_RETURN(flags.repeat, PositiveInt("--repeat", values["--repeat"]));
  BATON_ASSIGN_OR_RETURN(flags.page_tokens, PositiveInt("--page-tokens", values["--page-tokens"]));
  BATON_ASSIGN_OR_RETURN(flags.columns, ParseColumns(values["--workloads"]));
  if (values["--time"] == "cpu") flags.time = TimeBase::kCpu;
  if (flags.time == TimeBase::kCpu && flags.threads != 1) {
    return InvalidArgument("--time: 'cpu' with {} threads, expected --threads 1", flags.threads);
  }
  return flags;
}

int PagesOf(const Flags& flags) {
  int pages = 0;
  for (const Column& column : flags.columns) {
    const int each = (ContextOf(column.workload) + flags.page_tokens - 1) / flags.page_tokens;
    pages = std::max(pages, each * column.workload.sequences);
  }
  return pages;
}

class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  void Start(const Flags& flags) {
    if (json_) return;
    fmt::print("model {}, {} threads, target {}, median of {} (min-max), tokens/s ({} time)\n",
               flags.model, flags.threads, kernels::DispatchTarget(), flags.repeat,
               flags.time == TimeBase::kCpu ? "CPU" : "wall");
    fmt::print("{:8} {:8} {:>8}", "weights", "kv", "MB");
    for (const Column& column : flags.columns) fmt::print(" {:>22}", column.name);
    fmt::print("\n");
  }
  void Row(const Flags& flags, std::string_view weights, const std::string& kv, double megabytes,
           const std::vector<Spread>& spreads) {
    if (!json_) fmt::print("{:8} {:8} {:8.2f}", weights, kv, megabytes);
    for (size_t i = 0; i < spreads.size(); ++i) {
      const Spread& s = spreads[i];
      if (!json_) {
        fmt::print(" {:>22}", fmt::format("{:.0f} ({:.0f}-{:.0f})", s.median, s.min, s.max));
      }
      rows_.push_back({{"weights", weights},
                       {"kv", kv},
                       {"workload", flags.columns[i].name},
                       {"tokens_per_s", s.median},
                       {"min", s.min},
                       {"max", s.max}});
    }
    if (!json_) fmt::print("\n");
    std::fflush(stdout);
  }
  void Finish(const Flags& flags) const {
    if (!json_) return;
    const nlohmann::json report = {{"model", flags.model},
                                   {"threads", flags.threads},
                                   {"target", kernels::DispatchTarget()},
                                   {"repeat", flags.repeat},
                                   {"rows", rows_}};
    fmt::print("{}\n", report.dump(2));
  }

 private:
  const bool json_;
  std::vector<nlohmann::json> rows_;
};

// All workloads in turn, as often as asked: a slow moment of the machine hits each of them.
absl::StatusOr<std::vector<Spread>> MeasureAll(CpuRunner& runner, const Flags& flags,
                                               int vocabulary) {
  std::vector<std::vector<double>> samples(flags.columns.size());
  for (int i = -1; i < flags.repeat; ++i) {
    for (size_t c = 0; c < flags.columns.size(); ++c) {
      BATON_ASSIGN_OR_RETURN(const double speed,
                             Measure(runner, flags.columns[c].workload, vocabulary, flags.time));
      if (i >= 0) samples[c].push_back(speed);
    }
  }
  std::vector<Spread> spreads;
  for (const std::vector<double>& s : samples) spreads.push_back(SpreadOf(s));
  return spreads;
}

absl::Status RunBench(const Flags& flags) {
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                         Checkpoint::Open(flags.model, {.accept_quantized = true}));
  Report report(flags.json);
  report.Start(flags);
  for (const WeightFormat format : flags.weights) {
    ThreadPool loader(flags.threads);
    BATON_ASSIGN_OR_RETURN(const std::shared_ptr<const CpuModel> model,
                           LoadCpuModel(checkpoint, {.format = format}, loader));
    for (const kernels::KvFormats kv : flags.kv) {
      BATON_ASSIGN_OR_RETURN(const std::unique_ptr<CpuRunner> runner,
                             CpuRunner::Create(model, {.resident = kv,
                                                       .page_tokens = flags.page_tokens,
                                                       .page_count = PagesOf(flags),
                                                       .threads = flags.threads}));
      BATON_ASSIGN_OR_RETURN(const std::vector<Spread> spreads,
                             MeasureAll(*runner, flags, model->config.vocab_size));
      report.Row(flags, NameOf(format), kernels::KvFormatsName(kv),
                 static_cast<double>(model->weight_bytes()) / 1e6, spreads);
    }
  }
  report.Finish(flags);
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    std::fputs(baton::bench::kUsage, stdout);
    return 0;
  }
  const auto flags = baton::bench::ParseFlags(argc, argv);
  const absl::Status status = flags.ok() ? baton::bench::RunBench(*flags) : flags.status();
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", baton::ToString(status).c_str());
  return 1;
}
