#pragma once

#include <optional>
#include <string>

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

// A reference is the model that nothing was taken from: INVALID_ARGUMENT for a quantized folder,
// naming `flag`.
absl::Status CheckUnquantized(const std::string& flag, const std::string& model);

// Opens both folders and makes the check that the router and the decode worker make.
absl::StatusOr<ContractCheck> CheckPair(const ServedRole& prefill, const ServedRole& decode);

}  // namespace baton
