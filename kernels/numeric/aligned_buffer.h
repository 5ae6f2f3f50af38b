// An owned array aligned to a cache line, for weights, activations and caches.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace baton::kernels {

inline constexpr size_t kCacheLineBytes = 64;
// A forward pass walks over all weights: in pages of 4 KiB they take more entries than a TLB has.
inline constexpr size_t kHugePageBytes = size_t{2} << 20;

// Move-only; zero-filled when made, but for Unset. The allocation is a whole number of cache lines,
// so a vector load that starts inside the last line stays inside the allocation. Buffers of several
// huge pages ask the system for them.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  // Throws std::bad_alloc when `size` elements cannot be had.
  explicit AlignedBuffer(size_t size) : AlignedBuffer(size, 0) {}
  // Elements of any value, for whoever writes them all, on several threads: the pages are then
  // filled where they are written. What lies between the last element and the end of its line is 0.
  static AlignedBuffer Unset(size_t size) { return AlignedBuffer(size, size * sizeof(T)); }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }  // elements
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

 private:
  // Zeros from byte `filled` on.
  AlignedBuffer(size_t size, size_t filled) : size_(size) {
    if (size == 0) return;
    if (size > (static_cast<size_t>(-1) - kCacheLineBytes) / sizeof(T)) throw std::bad_alloc();
    const size_t bytes =
        (size * sizeof(T) + kCacheLineBytes - 1) / kCacheLineBytes * kCacheLineBytes;
    const size_t alignment = bytes < 2 * kHugePageBytes ? kCacheLineBytes : kHugePageBytes;
    data_ = {static_cast<T*>(::operator new (bytes, std::align_val_t{alignment})),
             Free{std::align_val_t{alignment}}};
#if defined(__linux__)
    // A hint: refused, it leaves small pages.
    if (alignment == kHugePageBytes) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
    std::memset(reinterpret_cast<std::byte*>(data_.get()) + filled, 0, bytes - filled);
  }

  struct Free {
    std::align_val_t alignment{kCacheLineBytes};
    void operator()(T* p) const { ::operator delete(p, alignment); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

}  // namespace baton::kernels
