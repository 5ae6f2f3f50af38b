#include "common/cli/eval_text.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "common/base/status.h"
#include "common/cli/input.h"
#include "common/eval/windows.h"
#include "common/model/model_config.h"
#include "common/model/model_files.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {

absl::StatusOr<EvalText> LoadEvalText(const EvalTextOptions& options, const std::string& model) {
  if (options.tokens.has_value() == options.text.has_value()) {
    return InvalidArgument("{} of --tokens and --text given, expected one",
                           options.tokens ? "both" : "none");
  }
  BATON_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(model));
  EvalText result;
  if (options.tokens) {
    BATON_ASSIGN_OR_RETURN(result.tokens, ReadTokenFile(*options.tokens));
  } else {
    BATON_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(*options.text));
    BATON_ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadTokenizerJson(model));
    BATON_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Parse(tokenizer_json));
    BATON_ASSIGN_OR_RETURN(result.tokens, tokenizer->Encode(text, {.add_special_tokens = false}));
  }
  BATON_ASSIGN_OR_RETURN(result.windows, CutWindows(result.tokens, options.window,
                                                    options.max_windows, config.vocab_size));
  return result;
}

absl::Status WriteTextFile(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) return Unavailable("{}: cannot be written", path);
  return absl::OkStatus();
}

absl::Status CheckSvgName(const std::string& flag, const std::string& path) {
  if (path.ends_with(".svg")) return absl::OkStatus();
  return InvalidArgument("{}: '{}', expected a name that ends in .svg (no other kind is drawn)",
                         flag, path);
}

std::function<void(int done, int total)> WindowProgress() {
  if (isatty(STDERR_FILENO) == 0) return {};
  const auto start = std::chrono::steady_clock::now();
  return [start](int done, int total) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    fmt::print(stderr, "\rwindow {}/{}, {:.0f} s left \033[K{}", done, total,
               spent.count() / done * (total - done), done == total ? "\r\033[K" : "");
    std::fflush(stderr);
  };
}

}  // namespace baton
