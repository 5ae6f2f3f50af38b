// Measured optima, printed by tests/bench/kernels_gpu/tune_gemm on one H100 (132 multiprocessors),
// Llama-3-8B's products. Variants are indices into the lists of config.h.
#include "kernels/gemm/config.h"

namespace baton::kernels::cuda {
namespace {

constexpr GemmKernel kSmall = GemmKernel::kW4A16Small;
constexpr GemmKernel kLarge = GemmKernel::kW4A16Large;
constexpr GemmKernel kFp8 = GemmKernel::kFp8Small;

// N, K, M up to, {kernel, variant, split, shared KiB}
// clang-format off
constexpr GemmTableRow kW4A16[] = {
    {6144, 4096, 8, {kSmall, 1, 1, 112}},
    {6144, 4096, 16, {kSmall, 4, 1, 112}},
    {6144, 4096, 32, {kLarge, 0, 1, 112}},
    {6144, 4096, 64, {kLarge, 2, 1, 226}},
    {6144, 4096, 128, {kLarge, 6, 1, 226}},
    {6144, 4096, 256, {kLarge, 7, 1, 226}},
    {6144, 4096, 8192, {kLarge, 8, 1, 226}},
    {4096, 4096, 8, {kSmall, 2, 1, 226}},
    {4096, 4096, 16, {kSmall, 4, 1, 112}},
    {4096, 4096, 32, {kLarge, 0, 2, 112}},
    {4096, 4096, 64, {kLarge, 2, 2, 226}},
    {4096, 4096, 128, {kLarge, 6, 2, 226}},
    {4096, 4096, 256, {kLarge, 5, 1, 226}},
    {4096, 4096, 8192, {kLarge, 8, 1, 226}},
    {28672, 4096, 4, {kSmall, 1, 1, 112}},
    {28672, 4096, 8, {kSmall, 0, 1, 112}},
    {28672, 4096, 16, {kSmall, 4, 1, 112}},
    {28672, 4096, 32, {kLarge, 1, 1, 226}},
    {28672, 4096, 64, {kLarge, 4, 1, 226}},
    {28672, 4096, 8192, {kLarge, 8, 1, 226}},
    {4096, 14336, 1, {kSmall, 2, 1, 112}},
    {4096, 14336, 4, {kSmall, 2, 1, 226}},
    {4096, 14336, 8, {kSmall, 1, 1, 226}},
    {4096, 14336, 16, {kSmall, 5, 1, 226}},
    {4096, 14336, 32, {kLarge, 0, 2, 112}},
    {4096, 14336, 64, {kLarge, 2, 2, 226}},
    {4096, 14336, 128, {kLarge, 6, 2, 226}},
    {4096, 14336, 256, {kLarge, 7, 2, 226}},
    {4096, 14336, 8192, {kLarge, 8, 1, 226}},
};

constexpr GemmTableRow kFp8Rows[] = {
    {6144, 4096, 8, {kFp8, 1, 4, 112}},
    {6144, 4096, 16, {kFp8, 2, 1, 226}},
    {6144, 4096, 32, {kFp8, 4, 1, 226}},
    {6144, 4096, 64, {kFp8, 5, 1, 226}},
    {6144, 4096, 128, {kFp8, 7, 1, 226}},
    {4096, 4096, 8, {kFp8, 0, 4, 75}},
    {4096, 4096, 16, {kFp8, 2, 4, 75}},
    {4096, 4096, 32, {kFp8, 4, 4, 75}},
    {4096, 4096, 64, {kFp8, 5, 3, 112}},
    {4096, 4096, 128, {kFp8, 8, 3, 226}},
    {28672, 4096, 8, {kFp8, 1, 1, 112}},
    {28672, 4096, 16, {kFp8, 3, 1, 112}},
    {28672, 4096, 32, {kFp8, 4, 1, 112}},
    {28672, 4096, 64, {kFp8, 5, 1, 112}},
    {28672, 4096, 128, {kFp8, 8, 1, 226}},
    {4096, 14336, 8, {kFp8, 0, 2, 226}},
    {4096, 14336, 16, {kFp8, 2, 2, 226}},
    {4096, 14336, 32, {kFp8, 4, 2, 226}},
    {4096, 14336, 64, {kFp8, 5, 2, 226}},
    {4096, 14336, 128, {kFp8, 7, 2, 226}},
};
// clang-format on

}  // namespace

std::span<const GemmTableRow> W4A16Table() { return kW4A16; }
std::span<const GemmTableRow> Fp8Table() { return kFp8Rows; }

}  // namespace baton::kernels::cuda
