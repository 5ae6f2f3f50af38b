#pragma once

#include "absl/status/status.h"
#include "baton/v1/decode.pb.h"
#include "baton/v1/handoff.pb.h"
#include "common/base/clock.h"
#include "decode_node/reservation.h"

namespace baton {

// What a decode worker says, built from the state of a reservation. Pure.

v1::DecodeResponse ReservedMessage(const Reservation& reservation);
// `transfer_time`: Grant to the KV complete.
v1::DecodeResponse CommittedMessage(const Reservation& reservation, Duration transfer_time);
v1::HandoffResponse AbortMessage(const Reservation& reservation, v1::AbortReason reason);

// What the prefill worker is told when a reservation ends with `status` while it is received.
v1::AbortReason AbortReasonFor(const absl::Status& status);
// What a router's cancellation does to the stream that it ends.
absl::Status StatusOfCancel(v1::CancelReason reason);

}  // namespace baton
