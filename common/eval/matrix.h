#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "common/eval/evaluator.h"

namespace baton {

// One pair of the table, by the names it is reported under.
struct MatrixCell {
  std::string prefill;  // scheme, or the label of a checkpoint
  std::string decode;
  std::string kv;  // resident in both roles and on the wire
  PairScores scores;
};

// {prefill schemes} × {KV formats} × {decode schemes} over one text, with one reference.
struct AccuracyMatrix {
  std::string model;  // folder's name
  int window = 0;     // tokens
  int windows = 0;
  bool score_prompt = false;
  int greedy_tokens = 0;
  std::string reference;  // "fp32 → fp16 → fp32"
  PairScores reference_scores;
  std::vector<MatrixCell> cells;  // in the order of the lists below: prefill, KV, decode
  std::vector<std::string> prefills;
  std::vector<std::string> kvs;
  std::vector<std::string> decodes;
};

// What was measured, then a table of the perplexity's increase over the reference and one of the
// divergence: a line per prefill scheme and KV format, a column per decode scheme.
std::string MatrixMarkdown(const AccuracyMatrix& matrix);
// A line per cell with every figure and its interval, under a line of names.
std::string MatrixCsv(const AccuracyMatrix& matrix);
nlohmann::ordered_json MatrixJson(const AccuracyMatrix& matrix);
// The increase of the perplexity, as a drawing (SVG).
std::string MatrixHeatMap(const AccuracyMatrix& matrix);

}  // namespace baton
