#!/usr/bin/env python3
"""Golden tokens through real processes: fp32 weights, fp16 KV over UCX reproduce the reference implementation."""

import contextlib
import json
import pathlib
import tempfile
import unittest

from harness import FLOAT, SHARED, cluster, need_shared

MARGIN = 0.02        # a step may differ only where the reference's best two logits are closer than this
LOGPROB_BOUND = 2e-2


def load_golden(model):
    need_shared("models/golden.json", "models/golden_long.json", f"models/{model}")
    prompts = []
    for name in ("golden.json", "golden_long.json"):
        document = json.loads((SHARED / "models" / name).read_text())
        prompts += document[model]["prompts"]
    return prompts


def kv_bytes(config, tokens):
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    return tokens * config["num_hidden_layers"] * config["num_key_value_heads"] * head_dim * 2 * 2


@contextlib.contextmanager
def architecture(name):
    """The fixture's folder with the tokenizer that its ids come from, and its reference."""
    need_shared(f"models/arch/{name}", "models/tiny/tokenizer.json")
    source = SHARED / "models/arch" / name
    with tempfile.TemporaryDirectory(prefix="baton-arch-") as temporary:
        folder = pathlib.Path(temporary) / name
        folder.mkdir()
        for file in [*source.iterdir(), SHARED / "models/tiny/tokenizer.json"]:
            (folder / file.name).symlink_to(file)
        yield folder, json.loads((source / "golden.json").read_text())


class GoldenTest(unittest.TestCase):
    def check(self, model, workers, page, chunk):
        prompts = load_golden(model)
        folder = SHARED / "models" / model
        config = json.loads((folder / "config.json").read_text())
        with cluster("--model", folder, *FLOAT, "--prefix-cache=off", f"--prefill={workers}", f"--decode={workers}",
                     f"--prefill-flag=--page-tokens={page}", f"--decode-flag=--page-tokens={page}",
                     f"--prefill-flag=--chunk-tokens={chunk}") as c:
            self.assertGreater(len(prompts), 10)
            for prompt in prompts:
                ids = prompt["prompt_ids"]
                with self.subTest(model=model, length=len(ids)):
                    self.check_prompt(c, prompt, ids, config)

    def check_prompt(self, c, prompt, ids, config):
        expected = prompt["greedy"]
        got = c.generate_ids(ids, f"--max-tokens={len(expected)}", "--temperature=0", "--ignore-eos", "--logprobs=0")
        for step, (token, reference) in enumerate(zip(got["token_ids"], expected)):
            if token != reference:
                self.assertLess(prompt["margins"][step], MARGIN, f"step {step}: {token}, expected {reference}")
                break
            self.assertAlmostEqual(got["logprobs"][step]["logprob"], prompt["logprobs"][step], delta=LOGPROB_BOUND)
        self.assertEqual(len(expected), len(got["token_ids"]))
        # The hand-over really happened, and cost what it must.
        self.assertTrue(got["workers"]["prefill"].startswith("prefill-"))
        self.assertTrue(got["workers"]["decode"].startswith("decode-"))
        self.assertGreater(got["kv"]["slabs"], 0)
        self.assertEqual("fp16", got["kv"]["format"])
        self.assertEqual(kv_bytes(config, len(ids)), got["kv"]["bytes_raw"])
        self.assertEqual(got["kv"]["bytes_raw"] + 128 * got["kv"]["slabs"], got["kv"]["bytes_wire"])

    def test_other_architectures(self):
        for name in ("qwen2", "qwen3", "mistral", "llama3_rope"):
            with self.subTest(architecture=name), architecture(name) as (folder, golden):
                config = json.loads((folder / "config.json").read_text())
                with cluster("--model", folder, *FLOAT, "--prefill-flag=--chunk-tokens=256") as c:
                    self.assertEqual(3, len(golden["prompts"]))
                    for prompt in golden["prompts"]:
                        self.check_prompt(c, prompt, prompt["prompt_ids"], config)

    def test_tiny_1p1d_page_16_chunk_256(self):
        self.check("tiny", 1, page=16, chunk=256)

    def test_tiny_2p2d_page_64_whole_prompts(self):
        self.check("tiny", 2, page=64, chunk=2048)

    def test_small_1p1d_page_64_whole_prompts(self):
        self.check("small", 1, page=64, chunk=2048)

    def test_small_2p2d_page_16_chunk_256(self):
        self.check("small", 2, page=16, chunk=256)


if __name__ == "__main__":
    unittest.main(verbosity=2)
