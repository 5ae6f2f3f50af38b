#!/usr/bin/env python3
"""Quantized model folders through real processes: each role has its own."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from foreign_checkpoints import write_bitsandbytes, write_gguf
from harness import FLOAT, PRESET, ROOT, TINY, cluster

PROMPT = list(range(5, 205))
GREEDY = ("--max-tokens=12", "--temperature=0", "--ignore-eos")


class CheckpointsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)
        program = ROOT / "build" / PRESET / "tests/write_checkpoints"
        subprocess.run([program, TINY, cls.out], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def tokens(self, *arguments):
        with cluster("--kv=int8", *arguments) as c:
            return c.generate_ids(PROMPT, *GREEDY)["token_ids"]

    def test_a_pair_of_folders_gives_the_tokens_of_quantizing_at_load(self):
        at_load = self.tokens("--prefill-weights=w8a8", "--decode-weights=w4a16")
        stored = self.tokens("--prefill-model", self.out / "w8a8", "--decode-model", self.out / "w4a16")
        self.assertEqual(at_load, stored)

    def test_the_log_says_how_it_is_served_and_how_fast_it_loaded(self):
        with cluster("--prefill-model", self.out / "fp8-weights", "--decode-model", self.out / "w4a16") as c:
            prefill = c.log("prefill-0")
        self.assertIn("no kernel for 'fp8, one scale per row", prefill)
        self.assertIn("load_gb_per_second", prefill)

    def test_every_format_of_the_writer_serves_in_both_roles(self):
        for first, second in (("fp8", "w4a16-symmetric"), ("mixed", "w4a8"), ("w4a8", "fp8-weights")):
            with self.subTest(prefill=first, decode=second):
                got = self.tokens("--prefill-model", self.out / first, "--decode-model", self.out / second)
                self.assertEqual(12, len(got))

    def stranger(self, scheme):
        """A folder that does not say where it is from."""
        stranger = self.out / f"stranger-{scheme}"
        shutil.copytree(self.out / scheme, stranger)
        config = json.loads((stranger / "config.json").read_text())
        del config["baton"]
        (stranger / "config.json").write_text(json.dumps(config))
        return stranger

    def test_a_folder_that_does_not_say_where_it_is_from_pairs_where_both_answer_alike(self):
        told = self.tokens("--prefill-weights=w8a8", "--decode-model", self.out / "w4a16")
        with cluster("--kv=int8", "--prefill-weights=w8a8", "--decode-model", self.stranger("w4a16")) as c:
            self.assertEqual(told, c.generate_ids(PROMPT, *GREEDY)["token_ids"])

    def test_a_gguf_file_serves_as_the_folder_that_it_is_from(self):
        file = self.out / "tiny.gguf"
        write_gguf(TINY, file)
        text = "Once upon a time there was a little robot who could not sleep. Every night"
        for weights in (FLOAT[:2], ("--prefill-weights=w8a8", "--decode-weights=w4a16")):
            with self.subTest(weights=weights):
                answers = []
                for model in (TINY, file):
                    with cluster("--model", model, "--kv=int8", *weights) as c:
                        answer = c.generate("--prompt", text, *GREEDY)
                    answers.append([answer[key] for key in ("token_ids", "text", "usage")])
                self.assertEqual(*answers)

    def test_bitsandbytes_serves_as_the_values_that_it_stands_for(self):
        for kind in ("nf4", "int8"):
            with self.subTest(kind):
                write_bitsandbytes(TINY, self.out, kind)
                stored = self.tokens("--model", self.out / kind, "--prefill-weights=auto", "--decode-weights=auto")
                values = self.tokens("--model", self.out / f"{kind}-values", "--prefill-weights=fp16", "--decode-weights=fp16")
                self.assertEqual(values, stored)


if __name__ == "__main__":
    unittest.main(verbosity=2)
