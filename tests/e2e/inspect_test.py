#!/usr/bin/env python3
"""`baton inspect` as a user calls it: what a folder holds, and which pairs may serve together."""

import json
import os
import pathlib
import shutil
import tempfile
import unittest

from harness import ROOT, SHARED, TINY, baton, need_shared


FIXTURE = ROOT / "tests/common/quant/formats/fixtures/model"


class InspectTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def copy(self, name, **changes):
        """A copy of the model that ships, with other values in config.json."""
        copy = self.folder / name
        copy.mkdir()
        for file in TINY.iterdir():
            if file.name != "config.json":
                os.symlink(file, copy / file.name)
        config = json.loads((TINY / "config.json").read_text())
        config.update(changes)
        (copy / "config.json").write_text(json.dumps(config))
        return copy

    def test_says_what_the_folder_holds(self):
        out = json.loads(baton("inspect", TINY, "--output=json"))
        self.assertEqual("LlamaForCausalLM", out["architecture"])
        self.assertEqual("none", out["quantization"])
        self.assertAlmostEqual(5.77e6, out["parameters"], delta=0.01e6)
        self.assertEqual(16, out["bits_per_weight"])
        self.assertEqual(out["parameters"], sum(group["parameters"] for group in out["tensor_groups"]))
        # 6 layers, 2 KV heads of 64, keys and values: 2 bytes each, or 1 and a scale of 2 for each group.
        self.assertEqual(6 * 2 * 64 * 2 * 2, out["kv_bytes_per_token"]["fp16"])
        self.assertEqual(6 * 2 * (64 + 2) * 2, out["kv_bytes_per_token"]["int8"])
        self.assertEqual(6 * 2 * (32 + 4) * 2, out["kv_bytes_per_token"]["int4"])
        text = baton("inspect", TINY)
        self.assertIn("LlamaForCausalLM", text)
        self.assertIn("down_proj", text)

    def test_says_how_a_quantized_folder_is_stored(self):
        copy = self.folder / "quantized"
        shutil.copytree(FIXTURE, copy)
        out = json.loads(baton("inspect", copy, "--output=json"))
        self.assertEqual("compressed-tensors", out["quantization"])
        self.assertEqual("unknown", out["source_digest"])
        self.assertEqual("absent", out["tokenizer_digest"])
        stored = {group["name"]: (group["stored"], group["bits_per_weight"]) for group in out["tensor_groups"]}
        self.assertIn("int4 asymmetric, one scale per row", stored["q_proj"][0])
        # 4 bits; each row of 32 is one group with a scale of 16 bits and a zero point of 4.
        self.assertEqual(4 + 20 / 32, stored["q_proj"][1])
        self.assertIn("int8 symmetric, one scale", stored["up_proj"][0])
        self.assertIn("inputs int8 per token", stored["up_proj"][0])
        self.assertEqual(("bf16", 16), stored["down_proj"])
        os.symlink(TINY / "tokenizer.json", copy / "tokenizer.json")
        self.refused(copy, "the base model of one is not recorded")
        trusted = baton("inspect", copy, "--with", copy, "--trust-model-identity")
        self.assertIn("may prefill for", trusted)

    def test_pairs_that_may_serve(self):
        self.assertIn("may prefill for", baton("inspect", TINY, "--with", self.copy("same")))

    def refused(self, other, words):
        result = baton("inspect", TINY, "--with", other, check=False)
        self.assertNotEqual(0, result.returncode)
        self.assertIn(words, result.stderr)
        out = baton("inspect", TINY, "--with", other, "--output=json", check=False).stdout
        self.assertFalse(json.loads(out)["pair"]["may_serve"])

    def test_refuses_another_rope(self):
        rope = json.loads((TINY / "config.json").read_text())["rope_parameters"]
        self.refused(self.copy("rope", rope_parameters=dict(rope, rope_theta=500000.0)),
                     "different RoPE (geometry.rope_digest: prefill theta 10000, decode theta 500000)")

    def test_refuses_another_tokenizer(self):
        other = self.copy("tokenizer")
        text = (TINY / "tokenizer.json").read_text()
        (other / "tokenizer.json").unlink()
        (other / "tokenizer.json").write_text(text + "\n")
        self.refused(other, "different tokenizers")

    def test_refuses_another_base_model(self):
        other = self.copy("weights")
        (other / "model.safetensors").unlink()
        shutil.copyfile(TINY / "model.safetensors", other / "model.safetensors")
        with open(other / "model.safetensors", "r+b") as file:
            file.seek(-2, os.SEEK_END)
            last = file.read(2)
            file.seek(-2, os.SEEK_END)
            file.write(bytes([last[0] ^ 1, last[1]]))
        self.refused(other, "different base models")
        result = baton("eval", "perplexity", "--prefill-model", TINY, "--decode-model", other, "--reference-model", TINY,
                       "--text", TINY / "config.json", "--window=64", check=False)
        self.assertNotEqual(0, result.returncode)
        self.assertIn("is not the model that", result.stderr)

    def test_refuses_another_basis_of_the_cache(self):
        digest = json.loads(baton("inspect", TINY, "--output=json"))["digest"]
        plain = self.copy("plain", baton={"source_digest": digest})
        smoothed = self.copy("smoothed", baton={"source_digest": digest, "kv_basis": "00ff00ff"})
        self.assertIn("may prefill for", baton("inspect", TINY, "--with", plain))
        self.refused(smoothed, "different bases of the cache")
        self.assertIn("may prefill for", baton("inspect", smoothed, "--with", smoothed))

    def test_refuses_another_shape(self):
        need_shared("models/small")
        self.refused(SHARED / "models/small", "different shapes of the cache")


if __name__ == "__main__":
    unittest.main(verbosity=2)
