#include "kernels/cuda/row_shape.h"

#include "gtest/gtest.h"
#include "kernels/quantize/cuda.h"

namespace baton::kernels::cuda {
namespace {

int Capacity(RowShape shape) {
  switch (shape) {
    case RowShape::k128x2:
      return 128 * 2 * 8;
    case RowShape::k256x2:
      return 256 * 2 * 8;
    case RowShape::k512x4:
      return 512 * 4 * 8;
    case RowShape::k1024x4:
      return 1024 * 4 * 8;
    case RowShape::kTooWide:
      break;
  }
  return 0;
}

TEST(RowShapeTest, HoldsTheRow) {
  for (int dim = 8; dim <= kMaxQuantizedRow; dim += 8) {
    ASSERT_GE(Capacity(RowShapeFor(dim)), dim);
  }
  EXPECT_EQ(RowShapeFor(kMaxQuantizedRow + 8), RowShape::kTooWide);
  EXPECT_EQ(RowShapeFor(4096), RowShape::k256x2);
}

}  // namespace
}  // namespace baton::kernels::cuda
