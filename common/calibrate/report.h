#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/calibrate/layer_quantizer.h"

namespace baton {

// One layer's lines of a report.
struct LayerReport {
  int layer = 0;
  std::vector<LinearReport> linears;
  std::vector<FoldReport> folds;
};

// Linear layers whose relative error on held-out text is more than `times` the median over all of
// the model's, and at least 0.1 % of the output's power: "model.layers.3.mlp.down_proj: 2.1 % of
// the output's power, 4.2 times the median".
std::vector<std::string> SensitiveLayers(const std::vector<LayerReport>& layers,
                                         double times = 3.0);

// A table: weight SQNR, error at the output on held-out text, and against round-to-nearest.
std::string ReportText(const std::vector<LayerReport>& layers);

// The report kept beside the checkpoint, one JSON object per layer and line, so that an interrupted
// run keeps what it had.
inline constexpr const char* kReportFile = "quantization_report.jsonl";
absl::Status AppendReport(const std::filesystem::path& folder, const LayerReport& layer);

}  // namespace baton
