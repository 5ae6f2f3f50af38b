// GoogleTest's main, with one summary line at the end that scripts read. --reduced: a small grid.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

#include "gtest/gtest.h"
#include "tests/gpu/support/device.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--reduced") != 0) {
      std::fprintf(stderr, "%s: unknown argument, expected --reduced or --gtest_...\n", argv[i]);
      return 2;
    }
    baton::kernels::cuda::SetReducedGrid();
  }
  const std::string reason = baton::kernels::cuda::NoDeviceReason();
  if (!reason.empty()) std::printf("SKIPPED: needs an sm_90 GPU (%s)\n", reason.c_str());
  const int result = RUN_ALL_TESTS();
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  std::printf("%d passed, %d failed, %d skipped\n", all.successful_test_count(),
              all.failed_test_count(), all.skipped_test_count());
  return result;
}
