#pragma once

#include <functional>

namespace baton {

// Where work on a device runs. The two lanes run beside each other; within a lane work runs in the
// order of Submit.
enum class Lane {
  kCompute,  // model steps
  kCopy,     // packing and scattering slabs
};

// Runs device work away from the thread that owns the requests. Production: one thread per lane.
// Tests: by hand, in any order the lanes allow.
class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `work` on the lane. `work` reports its result by posting to its owner's Mailbox.
  virtual void Submit(Lane lane, std::function<void()> work) = 0;
};

}  // namespace baton
