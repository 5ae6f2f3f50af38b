#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baton {

// What a router knows of the one model it serves.
struct ModelInfo {
  std::string name;  // served model name
  std::string architecture;
  uint32_t vocab_size = 0;
  uint32_t max_context = 0;  // prompt + output tokens
  std::vector<int32_t> eos_token_ids;
};

}  // namespace baton
