#pragma once

#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// Two ways to lower trace(D H Dᵀ), D = weights − values(coded), of a matrix that is already coded.
// Both treat rows apart and never raise the error of a row. `hessian`: Xᵀ X, [cols, cols].

// The scales of each row by least squares for the codes it has, rounded to the scale's type; a row
// keeps its old scales where rounding leaves it no better. Needs block_rows = 1.
void RefitScales(const Matrix& weights, const Matrix& hessian, const Parallel& parallel,
                 CodedMatrix& coded);

// Coordinate descent: each code in turn is set to the best value given all others of its row, in
// `sweeps` passes over the columns or until nothing changes.
void DescendCodes(const Matrix& weights, const Matrix& hessian, int sweeps,
                  const Parallel& parallel, CodedMatrix& coded);

}  // namespace baton
