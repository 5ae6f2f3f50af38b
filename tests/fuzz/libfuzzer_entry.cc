// One program per target: BATON_FUZZ_TARGET names it.
#include <cstdint>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  baton::fuzz::BATON_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
  return 0;
}
