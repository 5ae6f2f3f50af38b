#pragma once

#include <optional>
#include <string>
#include <vector>

#include "baton/v1/kv.pb.h"

namespace baton {

// Version of the conversations between workers; equal on both sides of a pair.
inline constexpr uint32_t kProtocolVersion = 1;

// Whether a prefill worker may hand KV to a decode worker.
struct ContractCheck {
  v1::KvFormat wire_format = v1::KV_FORMAT_UNSPECIFIED;  // set when ok
  // Between the two models' probes, where both took one (common/cluster/model_probe.h).
  std::optional<double> probe_distance;
  std::vector<v1::Mismatch> mismatches;  // left: prefill, right: decode; empty = ok
  bool ok() const { return mismatches.empty(); }
};

// Pure: the agreed wire format, or every field that forbids the pair with both values. The wire
// format is the first of the decode worker's list that the prefill worker accepts too. Weight
// precision, resident format, page size and tensor parallel layout are free to differ.
//
// Two known source digests are equal or refused. An unknown one (empty) passes if the worker that
// lacks it was started with trust_model_identity, or if the probes of both agree.
ContractCheck CheckContracts(const v1::KvContract& prefill, const v1::KvContract& decode);

// "field: prefill <left>, decode <right>; …" for logs and statuses.
std::string Describe(const std::vector<v1::Mismatch>& mismatches);

// "int8", "fp8_e4m3", …; the number for values this build does not know.
std::string FormatName(v1::KvFormat format);

}  // namespace baton
