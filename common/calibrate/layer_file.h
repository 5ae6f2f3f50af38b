#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/calibrate/layer_quantizer.h"
#include "common/model/checkpoint.h"
#include "common/quant/checkpoint_writer.h"
#include "common/quant/quantized_tensor.h"

namespace baton {

// The internal form of a coded matrix, exactly.
QuantizedTensor ToTensor(const CodedMatrix& coded);

// Writes one layer and ends the writer's file: norms, biases and kept matrices in the base's types,
// rounded once where a factor was folded into them; coded matrices as they are.
absl::Status WriteLayer(const QuantizedLayer& layer, int index, const LayerPlan& plan,
                        const Checkpoint& base, CheckpointWriter& writer);

// Whether the writer holds all of a layer from an interrupted run.
bool HasLayer(int index, const CheckpointWriter& writer);

// What a finished layer computes with, from its file. DATA_LOSS names a tensor that is not what
// WriteLayer writes for `plan`.
absl::StatusOr<FloatLayer> ReadLayer(int index, const LayerPlan& plan, const Checkpoint& base,
                                     const CheckpointWriter& writer);

}  // namespace baton
