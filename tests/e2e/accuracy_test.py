#!/usr/bin/env python3
"""`baton eval` as a user calls it: against published figures, and against the cluster that it judges."""

import array
import json
import pathlib
import tempfile
import unittest

from harness import FLOAT, PRESET, SHARED, TINY, baton, cluster, need_shared

VALIDATION = SHARED / "data/valid_65536.u16"
# What the README of the reference models says: every window of 1,024 tokens, each scored from its second token on.
PERPLEXITY = {"tiny": 13.4178, "small": 11.8620}


def both(folder):
    return ["--prefill-model", folder, "--decode-model", folder]


def write_tokens(path, tokens):
    with open(path, "wb") as file:
        array.array("H", tokens).tofile(file)


class PerplexityTest(unittest.TestCase):
    def test_both_phases_give_the_published_perplexity(self):
        need_shared("data/valid_65536.u16", "models/tiny", "models/small")
        if PRESET in ("asan", "tsan"):
            self.skipTest(f"65,536 tokens take too long under {PRESET}")
        for model, published in PERPLEXITY.items():
            with self.subTest(model):
                out = json.loads(baton("eval", "perplexity", *both(SHARED / "models" / model), "--prefill-weights=fp32",
                                       "--decode-weights=fp32", "--tokens", VALIDATION, "--window=1024", "--phases=both",
                                       "--output=json", timeout=500))
                self.assertEqual(64, out["windows"])
                self.assertAlmostEqual(published, out["perplexity"]["mean"], delta=1e-3)


class ServedPairTest(unittest.TestCase):
    WINDOW, TOKENS, WINDOWS = 128, 24, 3

    def setUp(self):
        need_shared("data/valid_65536.u16")

    def check(self, evaluated, served):
        """The pair's greedy tokens leave the reference's where `baton eval` says; both lists are flags."""
        out = json.loads(baton("eval", "divergence", *evaluated, "--kv=int8", "--tokens", VALIDATION, f"--window={self.WINDOW}",
                               f"--max-windows={self.WINDOWS}", f"--greedy-tokens={self.TOKENS}", "--output=json"))
        ids = array.array("H", VALIDATION.read_bytes()[:2 * self.WINDOW * self.WINDOWS])
        prompts = [ids[i * self.WINDOW:i * self.WINDOW + self.WINDOW // 2] for i in range(self.WINDOWS)]

        def continue_greedily(*flags):
            with cluster(*flags) as c:
                return [c.generate_ids(prompt, f"--max-tokens={self.TOKENS}", "--temperature=0", "--ignore-eos")["token_ids"]
                        for prompt in prompts]

        reference = continue_greedily(*FLOAT)
        got = continue_greedily(*served, "--kv=int8")
        differences = [next((i for i in range(self.TOKENS) if r[i] != g[i]), self.TOKENS) for r, g in zip(reference, got)]
        self.assertEqual(differences, out["first_difference"])
        self.assertLess(min(differences), self.TOKENS, "every continuation is equal: the comparison shows nothing")

    def test_schemes_at_load(self):
        schemes = ["--prefill-weights=w8a8", "--decode-weights=w4a16"]
        self.check([*both(TINY), *schemes], schemes)

    def test_a_pair_made_by_baton_quantize(self):
        need_shared("data/calibration.jsonl")
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        # A short calibration, for its speed: the pair is worse than it could be, and served as it is.
        baton("quantize", "pair", "--model", TINY, "--out", folder / "pair", "--calibration", SHARED / "data/calibration.jsonl",
              "--samples=16", "--window=64", timeout=500)
        prefill, decode = folder / "pair/prefill", folder / "pair/decode"
        self.assertIn("may prefill for", baton("inspect", prefill, "--with", decode))
        # The keys of the pair's cache are scaled: the model it was made from may not read it.
        wrong = baton("eval", "perplexity", *both(TINY), "--reference-model", prefill, "--tokens", VALIDATION, check=False)
        self.assertIn("is quantized", wrong.stderr)
        refused = baton("inspect", prefill, "--with", TINY, check=False)
        self.assertNotEqual(0, refused.returncode)
        self.assertIn("different bases of the cache", refused.stderr)
        self.check(["--prefill-model", prefill, "--decode-model", decode, "--reference-model", TINY],
                   ["--prefill-model", prefill, "--decode-model", decode, "--prefill-weights=auto", "--decode-weights=auto"])


class ReferenceTest(unittest.TestCase):
    def test_the_reference_is_the_base_model(self):
        need_shared("data/valid_65536.u16", "models/small")
        wrong = baton("eval", "perplexity", *both(TINY), "--reference-model", SHARED / "models/small", "--tokens", VALIDATION,
                      check=False)
        self.assertNotEqual(0, wrong.returncode)
        self.assertIn("is not the model that", wrong.stderr)


class MatrixTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.tokens = self.folder / "tokens.u16"
        write_tokens(self.tokens, [(i * 7919 + 13) % 4096 for i in range(4 * 64)])
        self.matrix = ["eval", "matrix", "--model", TINY, "--prefill-weights=fp16,w8a8", "--decode-weights=fp16,w4a16",
                       "--kv=fp16,int4", "--tokens", self.tokens, "--window=64"]

    def gate(self, **bound):
        path = self.folder / "gate.json"
        path.write_text(json.dumps({"bounds": [dict(name="this bound", **bound)]}))
        return baton(*self.matrix, "--gate", path, check=False)

    def test_writes_every_form(self):
        files = {name: self.folder / name for name in ("table.md", "table.csv", "map.svg")}
        out = baton(*self.matrix, "--markdown", files["table.md"], "--csv", files["table.csv"], "--heat-map", files["map.svg"])
        self.assertEqual(out, files["table.md"].read_text())
        self.assertIn("| w8a8 | int4 |", out)
        self.assertEqual(1 + 8, len(files["table.csv"].read_text().splitlines()))
        self.assertTrue(files["map.svg"].read_text().startswith("<svg"))

    def test_gate_passes_and_fails_by_name(self):
        held = self.gate(prefill="fp16", kv="fp16", decode="fp16", max_kl=0.001)
        self.assertEqual(0, held.returncode, held.stderr)
        broken = self.gate(prefill="w8a8", kv="int4", decode="w4a16", max_kl=0.001)
        self.assertNotEqual(0, broken.returncode)
        self.assertIn("this bound: w8a8 → int4 → w4a16: KL", broken.stderr)
        self.assertIn("| w8a8 | int4 |", broken.stdout, "the table is printed all the same")
        absent = self.gate(prefill="w8a8", kv="int8", max_kl=100)
        self.assertNotEqual(0, absent.returncode)
        self.assertIn("no cell w8a8 → int8 → * was evaluated", absent.stderr)

    def test_a_checkpoint_as_a_scheme(self):
        out = baton("eval", "matrix", "--model", TINY, f"--prefill-weights=copy={TINY}", "--decode-weights=fp32", "--kv=fp16",
                    "--tokens", self.tokens, "--window=64", "--output=csv")
        self.assertIn(",copy,fp16,fp32,4,64,", out)

    def test_bad_input_is_refused_by_name(self):
        short = ["eval", "divergence", *both(TINY), "--tokens", self.tokens]
        pair = [*short, "--window=64"]
        for arguments, words in [
            (pair + ["--plot=kl.png"], "ends in .svg"),
            (pair + ["--kv=int3"], "kv: 'int3'"),
            (pair + ["--wire=int3"], "wire: 'int3'"),
            (pair + ["--decode-weights=w3a16"], "w3a16"),
            (pair + ["--text", self.tokens], "--tokens and --text"),
            (short + ["--window=512"], "tokens: 256"),
            (["eval", "perplexity", *both(TINY), "--window=64"], "--tokens and --text"),
            (self.matrix + ["--gate", self.tokens], "gate"),
            (self.matrix + ["--prefill-weights=fp16"], "given twice"),
        ]:
            with self.subTest(words):
                result = baton(*arguments, check=False)
                self.assertNotEqual(0, result.returncode)
                self.assertIn(words, result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
