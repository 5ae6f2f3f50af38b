#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/checkpoint.h"
#include "common/model/safetensors.h"
#include "common/quant/quantized_tensor.h"

namespace baton {

// Calls its argument with every part of a whole, on whatever threads there are, and waits.
using RunParts = std::function<void(const std::function<void(int part, int parts)>&)>;
// On the caller's thread.
void RunSerially(const std::function<void(int part, int parts)>& work);

// The tensors of one module of a checkpoint, "<module>.<suffix>". Borrows the map.
class ModuleTensors {
 public:
  ModuleTensors(const TensorMap& tensors, std::string_view module)
      : tensors_(tensors), module_(module) {}

  const std::string& module() const { return module_; }
  std::string NameOf(std::string_view suffix) const { return module_ + "." + std::string(suffix); }
  // Null when there is none.
  const TensorView* Find(std::string_view suffix) const {
    const auto it = tensors_.find(NameOf(suffix));
    return it == tensors_.end() ? nullptr : &it->second;
  }
  // FAILED_PRECONDITION, naming the tensor, what it is and what was expected, when it is absent or
  // has another type or shape.
  absl::StatusOr<const TensorView*> Require(std::string_view suffix,
                                            std::initializer_list<DataType> types,
                                            const std::vector<int64_t>& shape) const;
  // The same for a single number, [] or [1].
  absl::StatusOr<float> RequireScalar(std::string_view suffix) const;
  // FAILED_PRECONDITION with the tensor's name in front.
  absl::Status Wrong(std::string_view suffix, std::string_view what) const;

 private:
  const TensorMap& tensors_;
  std::string module_;
};

// [r, c] values of F32, F16 or BF16 become the scales of `tensor`, in their type. `transposed`: the
// file holds [c, r].
void CopyScales(const TensorView& view, int64_t rows, int64_t columns, bool transposed,
                QuantizedTensor& tensor);

// Little-endian INT32 at index i.
int32_t Int32At(const TensorView& view, int64_t i);

// Group numbers [k] from a file, checked against `groups`. Left empty where they are k / group.
absl::StatusOr<std::vector<int32_t>> ReadColumnGroups(const ModuleTensors& tensors,
                                                      std::string_view suffix, int64_t k,
                                                      int64_t group, int64_t groups);

}  // namespace baton
