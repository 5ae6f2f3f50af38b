#include <cstddef>
#include <cstdint>

#include "kernels/kv_pack/kv_pack.h"
#include "kernels/kv_pack/walk.h"
#include "kernels/kv_page/kv_codec.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kv_pack/cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/kv_page/kv_codec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

template <KvFormat F>
void Decode(const std::byte* codes, const std::byte* scale, int head_dim, float* x) {
#if HWY_TARGET == HWY_SCALAR
  DecodeKvGroup(F, codes, scale, head_dim, x);
#else
  DecodeGroup<F>(codes, scale, head_dim, x);
#endif
}

template <KvFormat F>
void Encode(const float* x, int head_dim, std::byte* codes, std::byte* scale) {
#if HWY_TARGET == HWY_SCALAR
  EncodeKvGroup(F, x, head_dim, codes, scale);
#else
  EncodeGroup<F>(x, head_dim, codes, scale);
#endif
}

KvTranscoder Transcoder(KvFormat from, KvFormat to) {
  // Indexed by code minus one.
  static constexpr decltype(KvTranscoder::decode) kDecode[] = {
      Decode<KvFormat::kFp16>,    Decode<KvFormat::kBf16>, Decode<KvFormat::kFp8E4m3>,
      Decode<KvFormat::kFp8E5m2>, Decode<KvFormat::kInt8>, Decode<KvFormat::kInt4>};
  static constexpr decltype(KvTranscoder::encode) kEncode[] = {
      Encode<KvFormat::kFp16>,    Encode<KvFormat::kBf16>, Encode<KvFormat::kFp8E4m3>,
      Encode<KvFormat::kFp8E5m2>, Encode<KvFormat::kInt8>, Encode<KvFormat::kInt4>};
  return {kDecode[static_cast<int>(from) - 1], kEncode[static_cast<int>(to) - 1]};
}

KvTranscoders Transcoders(KvFormats from, KvFormats to) {
  return {Transcoder(from.k, to.k), Transcoder(from.v, to.v)};
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(Transcoders);

uint64_t PackCpu(const PackParams& params, int part, int parts) {
  const KvTranscoders transcoders =
      HWY_DYNAMIC_DISPATCH(Transcoders)(params.source.layout.formats(), params.layout.formats());
  return PackWalk(params, transcoders, part, parts);
}

uint64_t ScatterCpu(const ScatterParams& params, int part, int parts) {
  const KvTranscoders transcoders =
      HWY_DYNAMIC_DISPATCH(Transcoders)(params.layout.formats(), params.target.layout.formats());
  return ScatterWalk(params, transcoders, part, parts);
}

}  // namespace baton::kernels
#endif  // HWY_ONCE
