// Codes of a row in the units that a panel interleaves, at load.
#pragma once

#include <cstdint>

namespace baton::kernels::internal {

// Each reads codes[count]; what the last unit lacks is 0. Those that return a bool check the codes
// on the way: false when one is not of its type (PackProblem), after all have been read.

// Units of four codes, to[4 · ceil(count / 4)]: code + 128.
void Int8Units(const int8_t* codes, int64_t count, uint8_t* to);

// Units of eight codes, to[4 · ceil(count / 8)]: byte j is code j and, in its high nibble, code
// 4 + j, unsigned. `is_signed`: codes are -8 … 7, else 0 … 15.
bool Int4Units(const int8_t* codes, int64_t count, bool is_signed, uint8_t* to);

// Units of one code, to[count]: none may be NaN.
bool E4m3Units(const int8_t* codes, int64_t count, uint8_t* to);

}  // namespace baton::kernels::internal
