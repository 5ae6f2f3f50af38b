#include "decode_node/messages.h"

#include "common/base/status.h"

namespace baton {

v1::DecodeResponse ReservedMessage(const Reservation& reservation) {
  v1::DecodeResponse message;
  message.mutable_reserved()->set_attempt(reservation.attempt());
  return message;
}

v1::DecodeResponse CommittedMessage(const Reservation& reservation, Duration transfer_time) {
  const TransferReceiver& receiver = reservation.receiver;
  const uint32_t tokens = receiver.config().prompt_tokens - receiver.first_wanted();
  v1::DecodeResponse message;
  v1::DecodeCommitted* committed = message.mutable_committed();
  committed->set_attempt(reservation.attempt());
  committed->set_first_token(receiver.commit().first_token());
  if (receiver.commit().has_logprobs()) {
    *committed->mutable_logprobs() = receiver.commit().logprobs();
  }
  committed->set_transfer_ms(Milliseconds(transfer_time));
  committed->set_bytes_raw(kernels::KvRawBytes(receiver.config().geometry, tokens));
  committed->set_bytes_wire(receiver.bytes_wire());
  committed->set_wire_format(receiver.wire_format());
  committed->set_slabs(receiver.slabs());
  committed->set_tokens(tokens);
  return message;
}

v1::HandoffResponse AbortMessage(const Reservation& reservation, v1::AbortReason reason) {
  v1::HandoffResponse message;
  message.set_transfer_id(reservation.transfer().ToBytes());
  message.set_attempt(reservation.attempt());
  message.mutable_abort()->set_reason(reason);
  return message;
}

v1::AbortReason AbortReasonFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return v1::ABORT_REASON_FINISHED;
    case absl::StatusCode::kDataLoss:
      return v1::ABORT_REASON_DATA_LOSS;
    case absl::StatusCode::kUnavailable:
      return v1::ABORT_REASON_SHUTDOWN;
    default:
      return v1::ABORT_REASON_CANCELLED;
  }
}

absl::Status StatusOfCancel(v1::CancelReason reason) {
  switch (reason) {
    case v1::CANCEL_REASON_FINISHED:
      return absl::OkStatus();
    case v1::CANCEL_REASON_DEADLINE:
      return DeadlineExceeded("the router cancelled the request: deadline");
    default:
      return Cancelled("the router cancelled the request: {}", v1::CancelReason_Name(reason));
  }
}

}  // namespace baton
