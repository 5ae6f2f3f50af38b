#include "common/handoff/slab_ledger.h"

#include "common/base/check.h"

namespace baton {
namespace {

using kernels::SlabHeader;
using kernels::SlabRange;

bool Intersects(const SlabRange& a, const SlabRange& b) {
  return a.l0 < b.l1 && b.l0 < a.l1 && a.h0 < b.h1 && b.h0 < a.h1 && a.t0 < b.t1 && b.t0 < a.t1;
}

}  // namespace

SlabEntry* SlabLedger::Find(uint32_t slab) {
  const auto found = slabs_.find(slab);
  return found == slabs_.end() ? nullptr : &found->second;
}

SlabEntry& SlabLedger::Ask(uint32_t slab, const SlabRange& range, uint64_t payload_bytes) {
  SlabEntry& entry = slabs_[slab];
  entry = SlabEntry{SlabState::kAsked, range, payload_bytes};
  return entry;
}

bool SlabLedger::InBounds(const SlabRange& range) const {
  return range.l0 < range.l1 && range.h0 < range.h1 && range.t0 < range.t1 &&
         range.l0 >= wanted_.l0 && range.l1 <= wanted_.l1 && range.h0 >= wanted_.h0 &&
         range.h1 <= wanted_.h1 && range.t0 >= wanted_.t0 && range.t1 <= wanted_.t1;
}

std::optional<uint32_t> SlabLedger::Overlap(uint32_t slab, const SlabRange& range) const {
  for (const auto& [number, entry] : slabs_) {
    const bool settled = entry.state == SlabState::kLanding || entry.state == SlabState::kVerified;
    if (number != slab && settled && Intersects(entry.range, range)) return number;
  }
  return std::nullopt;
}

void SlabLedger::SetVerified(uint32_t slab) {
  SlabEntry& entry = slabs_.at(slab);
  BATON_CHECK(entry.state == SlabState::kLanding);
  entry.state = SlabState::kVerified;
  entry.span.reset();
  verified_volume_ += Volume(entry.range);
  ++verified_;
  bytes_wire_ += entry.payload_bytes + SlabHeader::kBytes;
  digest_ += kernels::DigestTerm(entry.checksum, slab);
}

void SlabLedger::SetBad(uint32_t slab) {
  SlabEntry& entry = slabs_.at(slab);
  BATON_CHECK(entry.state != SlabState::kVerified);
  entry.state = SlabState::kBad;
  entry.span.reset();
}

uint64_t SlabLedger::Volume(const SlabRange& range) {
  return static_cast<uint64_t>(range.l1 - range.l0) * (range.h1 - range.h0) * (range.t1 - range.t0);
}

}  // namespace baton
