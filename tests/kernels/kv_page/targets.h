#pragma once

#include <cstdint>
#include <functional>

#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

namespace baton::kernels {

// Runs `body` once per dispatch target that is compiled in and supported by this machine.
inline void ForEachTarget(const std::function<void()>& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    body();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
}

// Runs a launch function for all parts, last first: the order must not matter.
template <class Params>
void RunParts(void (*kernel)(const Params&, int, int), const Params& params, int parts) {
  for (int part = parts - 1; part >= 0; --part) kernel(params, part, parts);
}

}  // namespace baton::kernels
