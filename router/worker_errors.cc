#include "router/worker_errors.h"

#include <vector>

#include "common/base/status.h"
#include "common/cluster/contract.h"

namespace baton {

bool IsLoss(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
      return true;
    default:
      return false;
  }
}

absl::Status Lost(std::string_view role, const WorkerRef& worker, const absl::Status& status) {
  return Unavailable("{} worker '{}' was lost: {}", role, worker->identity().worker_id(),
                     MessageOf(status));
}

absl::Status Broke(std::string_view role, const WorkerRef& worker, std::string_view what) {
  return Internal("{} worker '{}' broke the protocol: {}", role, worker->identity().worker_id(),
                  what);
}

absl::Status RefusalStatus(const v1::PrefillRefused& message) {
  const std::vector<v1::Mismatch> mismatches(message.mismatches().begin(),
                                             message.mismatches().end());
  if (message.code() == v1::REFUSE_CODE_CONTRACT) {
    return FailedPrecondition("the decode worker refused the contract: {}", Describe(mismatches));
  }
  return Unavailable("the hand-over was refused: {}", v1::RefuseCode_Name(message.code()));
}

}  // namespace baton
