#!/usr/bin/env python3
"""Model folders that CheckpointWriter writes, read by the package `compressed-tensors`: it must accept the configuration, find
each layer's scheme, and decompress each layer to our reader's numbers, rounded once to the type of its scales.

Run by `tests/run --all`; needs compressed-tensors and torch from PyPI (gigabytes) and is skipped, with a message, without them.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"compressed_tensors_oracle: skipped: {missing}")
    sys.exit(0)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/release/tests/write_checkpoints"
MODEL = ROOT / "deploy/models/tiny"


def matches(module, target):
    return bool(re.match(target[3:], module)) if target.startswith("re:") else target in (module, "Linear")


def tensors_of(folder):
    index = folder / "model.safetensors.index.json"
    files = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
    return {name: tensor for file in files for name, tensor in load_file(folder / file).items()}


def check(folder):
    config = json.loads((folder / "config.json").read_text())
    assert re.fullmatch("[0-9a-f]{32}", config["baton"]["source_digest"])
    quantization = QuantizationConfig.model_validate(config["quantization_config"])
    tensors = tensors_of(folder)
    expected = load_file(folder.parent / f"{folder.name}.expected.safetensors")
    compared = 0
    for module, wanted in expected.items():
        assert not any(matches(module, ignored) for ignored in quantization.ignore), module
        schemes = [g for g in quantization.config_groups.values() if any(matches(module, t) for t in g.targets)]
        assert len(schemes) == 1, (module, len(schemes))
        compressor = BaseCompressor.get_value_from_registry(schemes[0].format or quantization.format)
        state = {name[len(module) + 1:]: t for name, t in tensors.items() if name.startswith(module + ".")}
        assert set(compressor.compression_param_names(schemes[0])) <= set(state), (module, sorted(state))
        got = compressor.decompress(state, schemes[0])["weight"]
        assert got.dtype == state["weight_scale"].dtype
        if not torch.equal(got, wanted.to(got.dtype)):
            raise AssertionError(f"{folder.name}: {module}: {(got.float() - wanted).abs().max()} apart")
        compared += wanted.numel()
    linear = [name for name in tensors if name.endswith("_scale")]
    assert len(linear) == len(expected), (len(linear), len(expected))
    return len(expected), compared


def main():
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM}: not built")
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([PROGRAM, MODEL, out], check=True)
        folders = sorted(p for p in pathlib.Path(out).iterdir() if p.is_dir())
        assert len(folders) == 7, folders
        for folder in folders:
            layers, values = check(folder)
            print(f"compressed_tensors_oracle: {folder.name}: {layers} layers, {values} values equal")


if __name__ == "__main__":
    main()
