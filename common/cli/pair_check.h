#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/kv.pb.h"
#include "common/cluster/contract.h"
#include "common/model/checkpoint.h"
#include "common/quant/weight_format.h"
#include "kernels/kv_page/kv_format.h"

namespace baton {

// A checkpoint as a worker would serve it.
struct ServedRole {
  std::string model;  // folder
  WeightFormat weights = WeightFormat::kAuto;
  kernels::KvFormats kv;
  std::optional<kernels::KvFormats> wire;  // accept only this on the wire; absent: any
  bool trust_model_identity = false;
};

// The contract that a worker of this role sends (common/worker). Reads the whole checkpoint once,
// for its digest.
absl::StatusOr<v1::KvContract> ContractOf(const ServedRole& role, const Checkpoint& checkpoint);

// A reference is the unquantized model that the others were made from. INVALID_ARGUMENT, naming
// `flag`, for a quantized folder, and for one of `models` that is, or says that it was made from,
// another model.
absl::Status CheckReference(const std::string& flag, const std::string& reference,
                            const std::vector<std::string>& models);

// Opens both folders and makes the check that the router and the decode worker make.
absl::StatusOr<ContractCheck> CheckPair(const ServedRole& prefill, const ServedRole& decode);

}  // namespace baton
