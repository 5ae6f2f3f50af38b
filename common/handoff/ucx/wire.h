#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/handoff/bulk_transport.h"

namespace baton::ucx {

// Active Message ids. A connection starts with Hello (sender → receiver) and Welcome (back); then
// slabs: the slab header travels as the message's header, the payload by rendezvous.
enum class MessageId : unsigned { kHello = 0, kWelcome = 1, kSlab = 2 };

inline constexpr uint32_t kWireVersion = 1;
inline constexpr size_t kMaxWorkerIdBytes = 256;

// Little-endian: magic u32, version u32, incarnation u64, id length u32, id. INVALID_ARGUMENT when
// the id is empty or too long.
absl::StatusOr<std::string> EncodeHello(const BulkPeer& self);
// Untrusted. INVALID_ARGUMENT names what is wrong, FAILED_PRECONDITION an unknown version.
absl::StatusOr<BulkPeer> DecodeHello(std::string_view bytes);

// Little-endian: magic u32, version u32, 1 = accepted or 0 = refused as u32.
std::string EncodeWelcome(bool accepted);
absl::StatusOr<bool> DecodeWelcome(std::string_view bytes);

}  // namespace baton::ucx
