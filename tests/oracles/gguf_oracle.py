#!/usr/bin/env python3
"""The GGUF fixtures, and the file that the end-to-end test writes, read by the package `gguf`: each tensor must have the numbers
that our tests expect of our reader, bit for bit.

Run by `tests/run --all`; needs gguf and safetensors from PyPI and is skipped, with a message, without them.
"""

import pathlib
import sys
import tempfile

try:
    import gguf
    import numpy as np
    from safetensors.numpy import load_file
except ImportError as missing:
    print(f"gguf_oracle: skipped: {missing}")
    sys.exit(0)

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/common/model/fixtures"
MODEL = ROOT / "deploy/models/tiny"
sys.path.insert(0, str(ROOT / "tests/e2e"))
from foreign_checkpoints import floats_of_bf16, read_safetensors, write_gguf  # noqa: E402


def values_of(tensor):
    shape = [int(n) for n in reversed(tensor.shape)]
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)


def check_blocks():
    expected = load_file(FIXTURES / "blocks.safetensors")
    tensors = gguf.GGUFReader(FIXTURES / "blocks.gguf").tensors
    assert len(tensors) == len(expected) == 8, (len(tensors), len(expected))
    for tensor in tensors:
        got, wanted = values_of(tensor), expected[tensor.name]
        assert np.array_equal(got.view(np.uint32).ravel(), wanted.view(np.uint32).ravel()), tensor.name
    return [tensor.name for tensor in tensors]


def check_written():
    """The file of the end-to-end test: all but Q and K, whose rows are in the other order, are the folder's numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tiny.gguf"
        write_gguf(MODEL, path)
        tensors = {t.name: values_of(t) for t in gguf.GGUFReader(path).tensors}
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 64)
        source = read_safetensors(MODEL / "model.safetensors")
        assert len(tensors) == len(source), (len(tensors), len(source))
        for name, (_, shape, data) in source.items():
            wanted = np.frombuffer(floats_of_bf16(data), np.float32).reshape(shape)
            got = tensors[names.get_name(name, try_suffixes=(".weight",))]
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                got, wanted = np.sort(got, axis=0), np.sort(wanted, axis=0)
            assert np.array_equal(got, wanted), name
        return len(tensors)


if __name__ == "__main__":
    print(f"gguf_oracle: {', '.join(check_blocks())}: equal; {check_written()} tensors of a written model: equal")
