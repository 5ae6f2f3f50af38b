#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "common/handoff/arena.h"
#include "kernels/kv_pack/slab.h"

namespace baton {

// How far a slab number of one attempt has come on the receiving side (README.md has the diagram).
enum class SlabState {
  kAsked,     // waits for credit
  kCredited,  // has a span
  kLanding,   // its bytes are arriving or being scattered
  kVerified,
  kBad,  // may be asked for again
};

struct SlabEntry {
  SlabState state = SlabState::kAsked;
  kernels::SlabRange range;
  uint64_t payload_bytes = 0;
  uint64_t checksum = 0;  // of the header that landed
  // From kCredited to the end of kLanding. Whoever may still write or read the span shares it.
  std::shared_ptr<ArenaSpan> span;
};

// All slabs of one attempt: what landed where, whether it tiles the wanted block, and the digest.
// Pure; engine thread only.
class SlabLedger {
 public:
  // Slab numbers a sender may use: keeps a hostile one from growing the ledger.
  static constexpr size_t kMaxSlabs = 16384;

  // `wanted`: all layers, all heads, tokens [first wanted, prompt).
  explicit SlabLedger(kernels::SlabRange wanted) : wanted_(wanted) {}

  const kernels::SlabRange& wanted() const { return wanted_; }
  bool full() const { return slabs_.size() >= kMaxSlabs; }
  SlabEntry* Find(uint32_t slab);
  // A new number, or a bad one again.
  SlabEntry& Ask(uint32_t slab, const kernels::SlabRange& range, uint64_t payload_bytes);
  // Whether the range, not empty, lies within the wanted block.
  bool InBounds(const kernels::SlabRange& range) const;
  // A landing or verified slab other than `slab` that shares a value with `range`.
  std::optional<uint32_t> Overlap(uint32_t slab, const kernels::SlabRange& range) const;
  // kLanding -> kVerified / kBad; the span is given up.
  void SetVerified(uint32_t slab);
  void SetBad(uint32_t slab);

  // Verified slabs cover the wanted block. They never overlap, so this is a sum of volumes.
  bool Tiled() const { return verified_volume_ == Volume(wanted_); }
  uint32_t verified() const { return verified_; }
  uint64_t bytes_wire() const { return bytes_wire_; }  // of verified slabs, headers included
  uint64_t digest() const { return digest_; }          // of verified slabs

 private:
  static uint64_t Volume(const kernels::SlabRange& range);

  const kernels::SlabRange wanted_;
  std::map<uint32_t, SlabEntry> slabs_;
  uint64_t verified_volume_ = 0;
  uint32_t verified_ = 0;
  uint64_t bytes_wire_ = 0;
  uint64_t digest_ = 0;
};

}  // namespace baton
