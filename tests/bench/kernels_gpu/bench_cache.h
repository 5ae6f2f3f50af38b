// A pool of pages in device memory, filled with random K and V by RopeKvWrite.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kv_page/layout.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {

// Pages of one layer's worth of random normal keys and values, in an order that strides through
// memory at random. Every layer of the geometry is filled with the same numbers.
class BenchCache {
 public:
  // Room for `sequences` sequences of `lengths` tokens, `copies` times over.
  BenchCache(const kernels::KvPageLayout& layout, const std::vector<int32_t>& lengths, int copies);

  kernels::PagedKv kv() const { return {static_cast<std::byte*>(pool_.data()), layout_}; }
  // [sequences, table_stride()] of one copy, in device memory.
  const int32_t* table(int copy) const {
    return table_.data() + static_cast<size_t>(copy) * sequences_ * stride_;
  }
  int64_t table_stride() const { return stride_; }
  int copies() const { return copies_; }

 private:
  void Fill(const std::vector<int32_t>& pages);

  kernels::KvPageLayout layout_;
  int sequences_;
  int copies_;
  int stride_ = 0;
  kernels::cuda::DeviceBytes pool_;
  kernels::cuda::DeviceArray<int32_t> table_;
};

}  // namespace baton::bench
