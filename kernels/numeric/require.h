// A precondition of a kernel that its caller broke: a bug of ours, never outside input.
#pragma once

#include <cstdio>
#include <cstdlib>

#define BATON_KERNELS_REQUIRE(condition)                                                \
  (static_cast<bool>(condition)                                                         \
       ? void(0)                                                                        \
       : (std::fprintf(stderr, "%s:%d: requires %s\n", __FILE__, __LINE__, #condition), \
          std::abort()))
