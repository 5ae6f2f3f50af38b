#include "common/eval/matrix.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "common/eval/summary.h"
#include "common/eval/svg.h"

namespace baton {
namespace {

std::string ScoredText(const AccuracyMatrix& matrix) {
  return matrix.score_prompt
             ? "every token from the second on scored"
             : fmt::format("the second half scored, {} tokens", matrix.window - matrix.window / 2);
}

// Lines of prefill × KV, columns of decode.
std::string Table(const AccuracyMatrix& matrix,
                  const std::function<std::string(const PairSummary&)>& text) {
  std::string table = "| prefill | KV |";
  std::string rule = "|---|---|";
  for (const std::string& decode : matrix.decodes) {
    table += fmt::format(" decode {} |", decode);
    rule += "---|";
  }
  table += "\n" + rule + "\n";
  size_t cell = 0;
  for (const std::string& prefill : matrix.prefills) {
    for (const std::string& kv : matrix.kvs) {
      table += fmt::format("| {} | {} |", prefill, kv);
      for (size_t d = 0; d < matrix.decodes.size(); ++d) {
        table += fmt::format(" {} |",
                             text(Summarize(matrix.cells[cell++].scores, matrix.reference_scores)));
      }
      table += "\n";
    }
  }
  return table;
}

double HalfWidth(const Interval& interval) { return (interval.high - interval.low) / 2; }

// A bound of an interval, empty where there is none.
std::string CsvNumber(double value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : "";
}

std::string CsvInterval(const Interval& interval) {
  return fmt::format("{},{},{}", CsvNumber(interval.mean), CsvNumber(interval.low),
                     CsvNumber(interval.high));
}

}  // namespace

std::string MatrixMarkdown(const AccuracyMatrix& matrix) {
  const Interval perplexity = Perplexity(matrix.reference_scores.window_nll);
  std::string text = fmt::format(
      "`{}`, {} windows of {} tokens, {}. Reference {}: perplexity {}.\n\n"
      "Increase of the perplexity over the reference in percent, ± half the 95 % interval of the "
      "paired windows:\n\n",
      matrix.model, matrix.windows, matrix.window, ScoredText(matrix), matrix.reference,
      NumberText(perplexity, 4));
  text += Table(matrix, [](const PairSummary& s) {
    return fmt::format("{:+.3f} ± {:.3f}", 100 * s.increase.mean, 100 * HalfWidth(s.increase));
  });
  text +=
      "\nMean KL divergence from the reference over the decode in millinats, and the share of "
      "positions with the same best token:\n\n";
  text += Table(matrix, [](const PairSummary& s) {
    return fmt::format("{:.2f}, {:.1f} %", 1000 * s.kl.mean, 100 * s.agreement.mean);
  });
  return text;
}

std::string MatrixCsv(const AccuracyMatrix& matrix) {
  std::string text =
      "model,prefill,kv,decode,windows,window,perplexity,perplexity_low,perplexity_high,"
      "increase,increase_low,increase_high,kl,kl_low,kl_high,"
      "agreement,agreement_low,agreement_high,greedy_tokens,greedy_median,greedy_unchanged\n";
  for (const MatrixCell& cell : matrix.cells) {
    const PairSummary s = Summarize(cell.scores, matrix.reference_scores);
    const GreedySummary greedy = SummarizeGreedy(cell.scores, matrix.greedy_tokens);
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{:g},{:.6g}\n", matrix.model,
                        cell.prefill, cell.kv, cell.decode, matrix.windows, matrix.window,
                        CsvInterval(s.perplexity), CsvInterval(s.increase), CsvInterval(s.kl),
                        CsvInterval(s.agreement), greedy.tokens, greedy.median, greedy.unchanged);
  }
  return text;
}

nlohmann::ordered_json MatrixJson(const AccuracyMatrix& matrix) {
  nlohmann::ordered_json json;
  json["model"] = matrix.model;
  json["windows"] = matrix.windows;
  json["window_tokens"] = matrix.window;
  json["phases"] = matrix.score_prompt ? "both" : "decode";
  json["reference"] = {
      {"pair", matrix.reference},
      {"perplexity", IntervalJson(Perplexity(matrix.reference_scores.window_nll))}};
  json["cells"] = nlohmann::ordered_json::array();
  for (const MatrixCell& cell : matrix.cells) {
    const PairSummary s = Summarize(cell.scores, matrix.reference_scores);
    const GreedySummary greedy = SummarizeGreedy(cell.scores, matrix.greedy_tokens);
    json["cells"].push_back({{"prefill", cell.prefill},
                             {"kv", cell.kv},
                             {"decode", cell.decode},
                             {"perplexity", IntervalJson(s.perplexity)},
                             {"increase", IntervalJson(s.increase)},
                             {"kl", IntervalJson(s.kl)},
                             {"agreement", IntervalJson(s.agreement)},
                             {"greedy",
                              {{"tokens", greedy.tokens},
                               {"median_first_difference", greedy.median},
                               {"unchanged", greedy.unchanged}}}});
  }
  return json;
}

std::string MatrixHeatMap(const AccuracyMatrix& matrix) {
  HeatMap map{.title = fmt::format("{}: increase of the perplexity, percent", matrix.model),
              .columns_title = "decode",
              .rows_title = "prefill, KV",
              .columns = matrix.decodes};
  for (const std::string& prefill : matrix.prefills) {
    for (const std::string& kv : matrix.kvs) map.rows.push_back(prefill + ", " + kv);
  }
  for (const MatrixCell& cell : matrix.cells) {
    const Interval increase =
        PerplexityIncrease(cell.scores.window_nll, matrix.reference_scores.window_nll);
    map.values.push_back(100 * increase.mean);
  }
  return DrawHeatMap(map);
}

}  // namespace baton
