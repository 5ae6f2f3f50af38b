#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baton {

// A weight whose numbers are not scale · (code − zero) in blocks of rows and columns, so that no
// kernel takes its codes: the values alone, in fp32, and in words what the file holds.
struct ExpandedWeight {
  int64_t n = 0;               // output features
  int64_t k = 0;               // input features
  std::vector<float> values;   // [n, k]
  std::string description;     // "nf4, blocks of 64"
  double bits_per_weight = 0;  // in the file, scales and zero points included
};

}  // namespace baton
