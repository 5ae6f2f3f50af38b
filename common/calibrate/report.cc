#include "common/calibrate/report.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/base/status.h"

namespace baton {

std::vector<std::string> SensitiveLayers(const std::vector<LayerReport>& layers, double times) {
  std::vector<double> errors;
  for (const LayerReport& layer : layers) {
    for (const LinearReport& linear : layer.linears) {
      if (linear.bits_per_weight < 16) errors.push_back(linear.relative_error);
    }
  }
  if (errors.empty()) return {};
  const auto middle = errors.begin() + static_cast<int64_t>(errors.size() / 2);
  std::nth_element(errors.begin(), middle, errors.end());
  // Less than this is far below what any 4-bit layer loses.
  constexpr double kWorthAWarning = 0.001;
  const double threshold = std::max(times * *middle, kWorthAWarning);
  std::vector<std::string> warnings;
  for (const LayerReport& layer : layers) {
    for (const LinearReport& linear : layer.linears) {
      if (linear.bits_per_weight >= 16 || linear.relative_error <= threshold) continue;
      warnings.push_back(fmt::format("{}: {:.2f} % of the output's power, {:.1f} times the median",
                                     ModuleOf(linear.linear, layer.layer),
                                     100 * linear.relative_error, linear.relative_error / *middle));
    }
  }
  return warnings;
}

std::string ReportText(const std::vector<LayerReport>& layers) {
  std::string text =
      fmt::format("{:<5} {:<18} {:>5} {:>9} {:>12} {:>11} {:>11}\n", "layer", "linear", "bits",
                  "SQNR dB", "output MSE", "relative %", "nearest %");
  for (const LayerReport& layer : layers) {
    for (const LinearReport& l : layer.linears) {
      if (l.bits_per_weight >= 16) {
        text += fmt::format("{:<5} {:<18} {:>5} {:>9}\n", layer.layer, ShortNameOf(l.linear), 16,
                            "kept");
        continue;
      }
      text += fmt::format("{:<5} {:<18} {:>5.2f} {:>9.2f} {:>12.4g} {:>11.4f} {:>11.4f}\n",
                          layer.layer, ShortNameOf(l.linear), l.bits_per_weight, l.sqnr_db,
                          l.held_out_error, 100 * l.relative_error, 100 * l.nearest_error);
    }
  }
  return text;
}

absl::Status AppendReport(const std::filesystem::path& folder, const LayerReport& layer) {
  nlohmann::ordered_json line = {{"layer", layer.layer}, {"linears", nlohmann::json::array()}};
  for (const LinearReport& l : layer.linears) {
    line["linears"].push_back({{"module", ModuleOf(l.linear, layer.layer)},
                               {"bits_per_weight", l.bits_per_weight},
                               {"weight_sqnr_db", l.sqnr_db},
                               {"held_out_output_mse", l.held_out_error},
                               {"held_out_relative_error", l.relative_error},
                               {"round_to_nearest_relative_error", l.nearest_error}});
  }
  line["scalings"] = nlohmann::json::array();
  for (const FoldReport& f : layer.folds) {
    line["scalings"].push_back({{"folded_into", f.name},
                                {"rule", NameOf(f.choice.rule)},
                                {"alpha", f.choice.alpha},
                                {"used", !f.choice.identity},
                                {"output_mse_before", f.choice.plain},
                                {"output_mse", f.choice.error}});
  }
  const std::filesystem::path path = folder / kReportFile;
  std::ofstream file(path, std::ios::app);
  file << line.dump() << '\n';
  file.close();
  if (!file) return FailedPrecondition("{}: cannot be written", path.string());
  return absl::OkStatus();
}

}  // namespace baton
