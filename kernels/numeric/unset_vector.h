// A std::vector of numbers that grows without filling: for arrays of a matrix's size that several
// threads write anew, where a first pass of zeros by one thread would take as long as the work.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/numeric/aligned_buffer.h"

namespace baton::kernels {

// Elements made without a value keep whatever the memory held. Arrays of several huge pages ask
// the system for them, as AlignedBuffer does.
template <typename T>
class UnsetAllocator {
  static_assert(std::is_trivial_v<T>);

 public:
  using value_type = T;

  UnsetAllocator() = default;
  template <typename U>
  explicit(false) UnsetAllocator(const UnsetAllocator<U>&) {}

  T* allocate(size_t size) {
    if (size > static_cast<size_t>(-1) / sizeof(T)) throw std::bad_alloc();
    const std::align_val_t alignment = AlignmentOf(size);
    void* data = ::operator new(size * sizeof(T), alignment);
#if defined(__linux__)
    // A hint: refused, it leaves small pages.
    if (alignment == std::align_val_t{kHugePageBytes}) {
      madvise(data, size * sizeof(T), MADV_HUGEPAGE);
    }
#endif
    return static_cast<T*>(data);
  }
  void deallocate(T* data, size_t size) { ::operator delete(data, AlignmentOf(size)); }

  void construct(T*) {}
  template <typename... Values>
  void construct(T* at, Values&&... values) {
    ::new (static_cast<void*>(at)) T(std::forward<Values>(values)...);
  }

  bool operator==(const UnsetAllocator&) const { return true; }

 private:
  static std::align_val_t AlignmentOf(size_t size) {
    return std::align_val_t{size * sizeof(T) < 2 * kHugePageBytes ? kCacheLineBytes
                                                                  : kHugePageBytes};
  }
};

template <typename T>
using UnsetVector = std::vector<T, UnsetAllocator<T>>;

}  // namespace baton::kernels
