#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/ids.h"

namespace baton {

inline constexpr size_t kSlabHeaderBytes = 128;
using SlabHeaderBytes = std::array<std::byte, kSlabHeaderBytes>;

// Who sends: the first thing a bulk connection says.
struct BulkPeer {
  WorkerId worker;
  Incarnation incarnation;
};

// A slab that a peer wants to deliver and whose bytes have not landed yet. The receiver decides,
// now or later, on any thread: Accept with a span, or destroy the handle, which refuses.
class IncomingSlab {
 public:
  virtual ~IncomingSlab() = default;
  virtual const BulkPeer& peer() const = 0;
  virtual const SlabHeaderBytes& header() const = 0;  // untrusted
  virtual size_t payload_bytes() const = 0;           // as the transport announces it
  // Lets the payload land in `landing` (exactly payload_bytes, inside a registered arena). `done`
  // runs once, on a transport thread: OK when all bytes are there. Until then the span may still be
  // written by the peer, whatever else happens: it stays quarantined. Call at most once.
  virtual void Accept(std::span<std::byte> landing, std::function<void(absl::Status)> done) = 0;
};

// The sender's end of a connection to one receiver. Destroying it cancels what is in flight.
class BulkConnection {
 public:
  virtual ~BulkConnection() = default;
  // Sends header and payload; the payload stays valid and unchanged until `done`, which runs
  // exactly once, on a transport thread: OK = the span may be reused (not that the receiver
  // verified it); CANCELLED, UNAVAILABLE (peer lost), or another error. A slab the receiver refused
  // completes OK.
  virtual void Send(const SlabHeaderBytes& header, std::span<const std::byte> payload,
                    std::function<void(absl::Status)> done) = 0;
};

// Moves slabs between workers. The receiver chooses where bytes land; the sender never learns an
// address.
//
// Threading: all methods are thread-safe and return without waiting for a peer. Callbacks run on a
// transport thread and must only enqueue.
// Shutdown: Close settles every completion and returns when no callback runs any more.
class BulkTransport {
 public:
  virtual ~BulkTransport() = default;

  // Registers memory that payloads are sent from or land in, once per arena, before its first use.
  virtual absl::Status RegisterArena(std::span<std::byte> arena) = 0;

  // Starts to receive; `sink` gets every announced slab. Returns the endpoint peers connect to
  // ("host:port" with the real port). At most once.
  virtual absl::StatusOr<std::string> Listen(
      const std::string& endpoint, std::function<void(std::unique_ptr<IncomingSlab>)> sink) = 0;

  // Connects to a listening endpoint. Fails at once for a malformed endpoint; an unreachable or
  // lost peer fails the sends, and `on_lost` (may be empty) runs at most once.
  virtual absl::StatusOr<std::unique_ptr<BulkConnection>> Connect(
      const std::string& endpoint, const BulkPeer& self,
      std::function<void(absl::Status)> on_lost) = 0;

  // Human-readable: library, version, and for each connection the fabric chosen (e.g. "ucx 1.22:
  // posix+cma"). For the log at start and for tests.
  virtual std::string Describe() const = 0;

  virtual void Close() = 0;
};

}  // namespace baton
