// tokenizer_batch TOKENIZER_JSON [--no-special]: JSON lines from stdin to stdout, for the oracle.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <string_view>

#include "common/base/status.h"
#include "common/tokenizer/batch.h"

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: {} TOKENIZER_JSON [--no-special]\n", argv[0]);
    return 2;
  }
  const bool special = argc < 3 || std::string_view(argv[2]) != "--no-special";
  const auto tokenizer = baton::Tokenizer::Load(argv[1]);
  const absl::Status status =
      tokenizer.ok()
          ? baton::TranslateJsonLines(**tokenizer, {.add_special_tokens = special},
                                      {.skip_special_tokens = !special}, std::cin, std::cout)
          : tokenizer.status();
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", baton::ToString(status));
  return 1;
}
