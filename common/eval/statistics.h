#pragma once

#include <span>

namespace baton {

// A mean with its 95 % confidence interval. Infinite bounds when there is but one sample.
struct Interval {
  double mean = 0;
  double low = 0;
  double high = 0;
};

// The value that Student's t with `degrees` ≥ 1 degrees of freedom exceeds in magnitude with
// probability 5 %: 12.706 for 1, 1.960 for infinitely many (Abramowitz and Stegun 26.7.3
// and 26.7.4, inverted by bisection).
double StudentTwoSided95(int degrees);

// Of independent samples of equal weight; `samples` is not empty.
Interval MeanInterval(std::span<const double> samples);

// exp of the mean negative log-likelihood (nats per token) over windows of equally many tokens.
Interval Perplexity(std::span<const double> window_nll);

// By what share the perplexity exceeds that of `baseline` (0.01 = 1 %), from the paired differences
// per window: what both find hard cancels. The spans have equal lengths.
Interval PerplexityIncrease(std::span<const double> window_nll, std::span<const double> baseline);

}  // namespace baton
