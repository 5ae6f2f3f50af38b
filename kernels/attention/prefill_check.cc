#include <cmath>

#include "kernels/attention/prefill_cuda.h"

namespace baton::kernels::cuda {
namespace {

using Problem = std::optional<std::string>;

Problem Expect(const char* field, int64_t value, const std::string& expectation) {
  return std::string(field) + ": " + std::to_string(value) + ", expected " + expectation;
}

bool Aligned(const void* pointer, uintptr_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

Problem CheckMatrix(const char* name, const void* matrix, int64_t stride, int width) {
  if (matrix == nullptr || !Aligned(matrix, 16)) {
    return std::string(name) + ": expected a pointer aligned to 16 bytes";
  }
  if (stride < width || stride % 8 != 0) {
    return Expect((std::string(name) + "_stride").c_str(), stride,
                  "a multiple of 8, at least " + std::to_string(width));
  }
  return std::nullopt;
}

Problem CheckPages(const AttentionPrefillParams& p) {
  const KvGeometry& geometry = p.layout.geometry();
  const PrefillShape& shape = p.plan->shape;
  if (shape.kv_heads != geometry.kv_heads || shape.head_dim != geometry.head_dim ||
      shape.page_tokens != p.layout.page_tokens()) {
    return "plan: made for another page layout";
  }
  if (!shape.gathered && PrefillNeedsGather(p.type, p.layout.formats())) {
    return Expect("plan.shape.gathered", shape.gathered,
                  "true for " + std::string(Name(p.type)) + " queries and " +
                      KvFormatsName(p.layout.formats()) + " pages");
  }
  if (p.layer < 0 || p.layer >= geometry.layers) {
    return Expect("layer", p.layer, "0 to " + std::to_string(geometry.layers - 1));
  }
  if (p.pool == nullptr || !Aligned(p.pool, 64)) {
    return "pool: expected a pointer aligned to 64 bytes";
  }
  if (p.pool_pages < 1) return Expect("pool_pages", p.pool_pages, "1 or more");
  if (p.workspace_bytes < p.plan->WorkspaceBytes()) {
    return Expect("workspace_bytes", static_cast<int64_t>(p.workspace_bytes),
                  "at least " + std::to_string(p.plan->WorkspaceBytes()));
  }
  if (p.plan->WorkspaceBytes() > 0 && (p.workspace == nullptr || !Aligned(p.workspace, 128))) {
    return "workspace: expected a pointer aligned to 128 bytes";
  }
  return std::nullopt;
}

}  // namespace

bool PrefillNeedsGather(ActivationType type, KvFormats formats) {
  const KvFormat same = type == ActivationType::kFp16 ? KvFormat::kFp16 : KvFormat::kBf16;
  return formats != KvFormats{same, same};
}

Problem AttentionPrefillProblem(const AttentionPrefillParams& p) {
  if (p.plan == nullptr) return "plan: missing";
  if (Problem problem = PrefillProblem(p.plan->shape)) return problem;
  const int width = p.plan->shape.q_heads * p.plan->shape.head_dim;
  if (Problem problem = CheckMatrix("q", p.q, p.q_stride, width)) return problem;
  if (Problem problem = CheckMatrix("out", p.out, p.out_stride, width)) return problem;
  if (!(p.scale > 0.0f) || !std::isfinite(p.scale)) {
    return "scale: " + std::to_string(p.scale) + ", expected a positive number";
  }
  if (p.image == nullptr || !Aligned(p.image, 16)) {
    return "image: expected a pointer aligned to 16 bytes";
  }
  if (p.sm_count < 1) return Expect("sm_count", p.sm_count, "1 or more");
  return CheckPages(p);
}

}  // namespace baton::kernels::cuda
