#include "common/calibrate/cache_factors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "common/quant/algorithms/folding.h"
#include "kernels/kv_page/kv_codec.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr int kExponents = 11;  // α = 0, 0.1 … 1
constexpr float kLeastRange = 1e-4f;

float Exponent(int i) { return static_cast<float>(i) / (kExponents - 1); }

// x[rows, dim] as an int4 cache gives it back, through channels divided by `factors`.
void RoundCache(const std::vector<float>& factors, int64_t rows, MutableView x) {
  const auto dim = static_cast<int>(factors.size());
  std::vector<float> group(factors.size());
  std::vector<std::byte> codes(kernels::KvCodeBytes(kernels::KvFormat::kInt4, dim));
  std::array<std::byte, 4> scale;
  for (int64_t i = 0; i < rows; ++i) {
    float* row = x.data + i * x.ld;
    for (size_t j = 0; j < factors.size(); ++j) group[j] = row[j] / factors[j];
    kernels::EncodeKvGroup(kernels::KvFormat::kInt4, group.data(), dim, codes.data(), scale.data());
    kernels::DecodeKvGroup(kernels::KvFormat::kInt4, codes.data(), scale.data(), dim, group.data());
    for (size_t j = 0; j < factors.size(); ++j) row[j] = group[j] * factors[j];
  }
}

// The search over the sequences of one sample.
class Search {
 public:
  Search(const LayerPass& pass, const FloatLayer& layer, const SeenAttention& seen,
         int64_t sequences, const Parallel& parallel)
      : pass_(pass),
        config_(pass.config()),
        output_(layer[Linear::kO].weight),
        seen_(seen),
        sequences_(sequences),
        parallel_(parallel),
        dim_(config_.head_dim),
        group_(config_.heads / config_.kv_heads),
        exact_(sequences * pass.window(), config_.heads * dim_) {
    parallel([&](int part, int parts) {
      const kernels::Range share = kernels::Partition(sequences, part, parts);
      std::vector<float> scores;
      for (int64_t i = share.begin; i < share.end; ++i) {
        const int64_t first = i * pass_.window();
        for (int64_t q = 0; q < config_.heads; ++q) {
          const int64_t kv = q / group_ * dim_;
          pass_.AttendHead({seen_.q.Row(first).data() + q * dim_, seen_.q.cols},
                           {seen_.k.Row(first).data() + kv, seen_.k.cols},
                           {seen_.v.Row(first).data() + kv, seen_.v.cols},
                           {exact_.Row(first).data() + q * dim_, exact_.cols}, scores);
        }
      }
    });
  }

  // The largest magnitude of each channel of K or V, [kv_heads · head_dim].
  std::vector<float> Ranges(const Matrix& cache) const {
    std::vector<float> ranges(static_cast<size_t>(cache.cols), kLeastRange);
    for (int64_t i = 0; i < sequences_ * pass_.window(); ++i) {
      for (size_t j = 0; j < ranges.size(); ++j) {
        ranges[j] = std::max(ranges[j], std::abs(cache.Row(i)[j]));
      }
    }
    return ranges;
  }

  // Squared error at the output of the projection of all query heads of `head`, with K (or V)
  // rounded through `factors` [head_dim]; and the squared norm of the output.
  struct Cost {
    double error = 0;
    double power = 0;
  };
  Cost CostOf(int64_t head, bool keys, const std::vector<float>& factors) const {
    std::vector<Cost> costs(static_cast<size_t>(sequences_));
    parallel_([&](int part, int parts) {
      const kernels::Range share = kernels::Partition(sequences_, part, parts);
      for (int64_t i = share.begin; i < share.end; ++i) {
        costs[static_cast<size_t>(i)] = CostOfSequence(i, head, keys, factors);
      }
    });
    Cost total;
    for (const Cost& cost : costs) {
      total.error += cost.error;
      total.power += cost.power;
    }
    return total;
  }

 private:
  Cost CostOfSequence(int64_t sequence, int64_t head, bool keys,
                      const std::vector<float>& factors) const {
    const int64_t window = pass_.window();
    const int64_t first = sequence * window;
    const Matrix& source = keys ? seen_.k : seen_.v;
    Matrix rounded(window, dim_);
    for (int64_t i = 0; i < window; ++i) {
      std::copy_n(source.Row(first + i).data() + head * dim_, dim_, rounded.Row(i).data());
    }
    RoundCache(factors, window, {rounded.values.data(), dim_});
    const ConstView cache{rounded.values.data(), dim_};
    const ConstView k{seen_.k.Row(first).data() + head * dim_, seen_.k.cols};
    const ConstView v{seen_.v.Row(first).data() + head * dim_, seen_.v.cols};
    Cost cost;
    Matrix exact(window, dim_);
    Matrix error(window, dim_);
    std::vector<float> scores;
    for (int64_t q = head * group_; q < (head + 1) * group_; ++q) {
      pass_.AttendHead({seen_.q.Row(first).data() + q * dim_, seen_.q.cols}, keys ? cache : k,
                       keys ? v : cache, {error.values.data(), dim_}, scores);
      for (int64_t i = 0; i < window; ++i) {
        std::copy_n(exact_.Row(first + i).data() + q * dim_, dim_, exact.Row(i).data());
      }
      for (size_t i = 0; i < error.values.size(); ++i) error.values[i] -= exact.values[i];
      cost.error += Projected(q, error);
      cost.power += Projected(q, exact);
    }
    return cost;
  }

  // Squared norm of what query head `q` adds to the output for attended[window, head_dim].
  double Projected(int64_t q, const Matrix& attended) const {
    Matrix out(attended.rows, output_.rows);
    MultiplyTransposed(attended.rows, output_.rows, dim_, 1.0f, {attended.values.data(), dim_},
                       {output_.values.data() + q * dim_, output_.cols}, 0.0f,
                       {out.values.data(), out.cols});
    double sum = 0;
    for (const float x : out.values) sum += x * x;
    return sum;
  }

  const LayerPass& pass_;
  const ModelConfig& config_;
  const Matrix& output_;
  const SeenAttention& seen_;
  const int64_t sequences_;
  const Parallel& parallel_;
  const int64_t dim_;
  const int64_t group_;
  Matrix exact_;  // attention's output, [sequences · window, heads · head_dim]
};

// The factors of one head from its ranges [head_dim].
std::vector<float> Factors(std::vector<float> ranges, bool keys, bool powers, float alpha) {
  const size_t pairs = ranges.size() / 2;
  for (size_t i = 0; i < pairs && keys; ++i) {
    ranges[i] = ranges[i + pairs] = std::max(ranges[i], ranges[i + pairs]);
  }
  const auto [min, max] = std::minmax_element(ranges.begin(), ranges.end());
  const float middle = std::sqrt(*min * *max);
  // Rounded, so that another vector unit's last bits seldom make another cache; with norms on heads
  // to powers of two, which a norm of 16 bits takes exactly.
  for (float& r : ranges) {
    r = std::pow(r / middle, alpha);
    r = powers ? std::exp2(std::nearbyint(std::log2(r)))
               : RoundScale(r, kernels::ScalarType::kBf16);
  }
  return ranges;
}

// Searches the heads that share factors, [first, end), together.
void SearchHeads(const Search& search, int64_t dim, int64_t first, int64_t end, bool keys,
                 const std::vector<float>& ranges, CacheFactors& out) {
  std::vector<float> shared(static_cast<size_t>(dim), kLeastRange);
  for (int64_t head = first; head < end; ++head) {
    for (int64_t j = 0; j < dim; ++j) {
      shared[static_cast<size_t>(j)] =
          std::max(shared[static_cast<size_t>(j)], ranges[static_cast<size_t>(head * dim + j)]);
    }
  }
  std::vector<float> best;
  double least = 0;
  for (int i = 0; i < kExponents; ++i) {
    const std::vector<float> factors = Factors(shared, keys, keys && end - first > 1, Exponent(i));
    Search::Cost cost;
    for (int64_t head = first; head < end; ++head) {
      const Search::Cost of_head = search.CostOf(head, keys, factors);
      cost.error += of_head.error;
      cost.power += of_head.power;
    }
    const double relative = cost.error / std::max(cost.power, 1e-30);
    if (i == 0) (keys ? out.k_plain : out.v_plain) += relative;
    if (!best.empty() && !(relative < least)) continue;
    least = relative;
    best = factors;
  }
  (keys ? out.k_error : out.v_error) += least;
  std::vector<float>& target = keys ? out.k : out.v;
  for (int64_t head = first; head < end; ++head) {
    std::copy(best.begin(), best.end(), target.begin() + head * dim);
  }
}

}  // namespace

CacheFactors SearchCacheFactors(const LayerPass& pass, const FloatLayer& layer,
                                const SeenAttention& seen, int64_t sequences,
                                const Parallel& parallel) {
  const ModelConfig& config = pass.config();
  const int64_t heads = config.kv_heads;
  CacheFactors out;
  out.k.assign(static_cast<size_t>(heads * config.head_dim), 1.0f);
  out.v = out.k;
  const Search search(pass, layer, seen, sequences, parallel);
  const std::vector<float> k_ranges = search.Ranges(seen.k);
  const std::vector<float> v_ranges = search.Ranges(seen.v);
  const int64_t together = config.qk_norm ? heads : 1;
  for (int64_t head = 0; head < heads; head += together) {
    SearchHeads(search, config.head_dim, head, head + together, true, k_ranges, out);
  }
  for (int64_t head = 0; head < heads; ++head) {
    SearchHeads(search, config.head_dim, head, head + 1, false, v_ranges, out);
  }
  for (double* sum : {&out.k_plain, &out.k_error}) *sum /= static_cast<double>(heads / together);
  for (double* sum : {&out.v_plain, &out.v_error}) *sum /= static_cast<double>(heads);
  return out;
}

void FoldCacheFactors(const ModelConfig& config, const CacheFactors& factors, FloatLayer& layer) {
  const int64_t dim = config.head_dim;
  const int64_t group = config.heads / config.kv_heads;
  // Factors of the query heads: those of the KV head that they read.
  std::vector<float> q(static_cast<size_t>(config.heads * dim));
  std::vector<float> o(q.size());
  for (int64_t i = 0; i < config.heads * dim; ++i) {
    const int64_t kv = i / dim / group * dim + i % dim;
    q[static_cast<size_t>(i)] = 1.0f / factors.k[static_cast<size_t>(kv)];
    o[static_cast<size_t>(i)] = factors.v[static_cast<size_t>(kv)];
  }
  if (config.qk_norm) {
    for (size_t j = 0; j < layer.k_norm.size(); ++j) {
      layer.k_norm[j] /= factors.k[j];
      layer.q_norm[j] *= factors.k[j];
    }
  } else {
    DivideRows(factors.k, layer[Linear::kK].weight, layer[Linear::kK].bias);
    DivideRows(q, layer[Linear::kQ].weight, layer[Linear::kQ].bias);
  }
  DivideRows(factors.v, layer[Linear::kV].weight, layer[Linear::kV].bias);
  ScaleColumns(o, layer[Linear::kO].weight);
}

Digest DigestOfFactors(const std::vector<CacheFactors>& factors) {
  DigestBuilder builder;
  for (const CacheFactors& layer : factors) {
    builder.Add(std::as_bytes(std::span(layer.k)));
    builder.Add(std::as_bytes(std::span(layer.v)));
  }
  return builder.Finish();
}

}  // namespace baton
