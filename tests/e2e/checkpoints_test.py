#!/usr/bin/env python3
"""Quantized model folders through real processes: each role has its own."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import ROOT, PRESET, TINY, cluster

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

    def test_a_folder_that_does_not_say_where_it_is_from_serves_when_trusted(self):
        stranger = self.out / "stranger"
        shutil.copytree(self.out / "w4a16", stranger)
        config = json.loads((stranger / "config.json").read_text())
        del config["baton"]
        (stranger / "config.json").write_text(json.dumps(config))
        trust = "--decode-flag=--trust-model-identity"
        self.assertEqual(12, len(self.tokens("--decode-model", stranger, trust)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
