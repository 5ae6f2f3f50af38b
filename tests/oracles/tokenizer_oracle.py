#!/usr/bin/env python3
"""Compares the tokenizer with PyPI `tokenizers` on random text, for every kind of tokenizer.json that is built.

Fails on any difference for text of code points assigned in Unicode 13 or earlier (the reference normalizes with
tables of that age); for text with newer and unassigned ones differences are counted and listed.
"""

import argparse
import copy
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizers
import unicodedataplus

ROOT = pathlib.Path(__file__).resolve().parents[2]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPACES = [0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
FRAGMENTS = ["'s", "'T", "'re", "'VE", "'m", "'Ll", "'d", "'\u017f", "\r\n", "  ", " \n", "...", "123", "1234567", " the", "ing"]


def split_and_bytes(regex):
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, level]}


def byte_level(prefix):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}


def added(first, *tokens):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return [{"id": first + i, "content": text, **flags, **given} for i, (text, given) in enumerate(tokens)]


def variants(base):
    """Name and tokenizer.json of every kind under test."""
    yield "llama3", base
    merged = copy.deepcopy(base)
    merged["model"]["ignore_merges"] = False
    yield "llama3, merges not ignored", merged
    qwen2 = copy.deepcopy(merged)
    qwen2["normalizer"] = {"type": "NFC"}
    qwen2["pre_tokenizer"] = split_and_bytes(QWEN2)
    qwen2["post_processor"] = byte_level(False)
    yield "qwen2", qwen2
    gpt2 = copy.deepcopy(merged)
    gpt2["pre_tokenizer"] = byte_level(False)
    gpt2["post_processor"] = byte_level(True)
    gpt2["model"]["merges"] = [" ".join(pair) for pair in gpt2["model"]["merges"]]
    yield "gpt2", gpt2
    prefix = copy.deepcopy(gpt2)
    prefix["pre_tokenizer"] = byte_level(True)
    yield "gpt2, prefix space", prefix
    flags = copy.deepcopy(qwen2)
    flags["added_tokens"] += added(
        4096,
        ("<l>", {"lstrip": True}),
        ("<r>", {"rstrip": True, "special": True}),
        ("<lr>", {"lstrip": True, "rstrip": True}),
        ("word", {"single_word": True}),
        ("wordless", {}),
        ("e\u0301t", {"normalized": True}),
        ("\u212b", {"normalized": True, "single_word": True, "lstrip": True}),
        ("<|eot", {"normalized": True}),
    )
    yield "qwen2, added tokens", flags


class TextSource:
    """Random text, half of it ordinary, half of code points from `alphabet`."""

    def __init__(self, seed, alphabet, contents):
        self.random = random.Random(seed)
        self.alphabet = alphabet
        self.marks = [c for c in alphabet if unicodedataplus.combining(chr(c))]
        self.numbers = [c for c in alphabet if unicodedataplus.category(chr(c))[0] == "N"]
        self.contents = contents + ["\u00e9t", "\u00c5", "A\u030a", "<|", "sword", "_word"]

    def part(self):
        r = self.random
        kind = r.random()
        if kind < 0.30:
            return chr(r.choice(self.alphabet))
        if kind < 0.45:
            return chr(r.randrange(0x20, 0x7F))
        if kind < 0.60:
            return r.choice(FRAGMENTS)
        if kind < 0.72:
            return chr(r.choice(SPACES))
        if kind < 0.80 and self.marks:
            return r.choice("aeoAq") + "".join(chr(r.choice(self.marks)) for _ in range(r.randrange(1, 5)))
        if kind < 0.86 and self.numbers:
            return "".join(chr(r.choice(self.numbers)) for _ in range(r.randrange(1, 6)))
        if kind < 0.94:
            return chr(r.randrange(0xC0, 0x250))
        return r.choice(self.contents)

    def text(self):
        return "".join(self.part() for _ in range(self.random.randrange(1, 40)))


def ask(program, path, lines, *arguments):
    text = "\n".join(json.dumps(line) for line in lines)
    answer = subprocess.run([program, path, *arguments], input=text, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"{program}: {answer.stderr}")
    return [json.loads(line) for line in answer.stdout.splitlines()]


def compare(program, document, texts, seed):
    """The texts that are encoded and the id sequences that are decoded otherwise than by the reference."""
    reference = tokenizers.Tokenizer.from_str(json.dumps(document))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        different = []
        for special, arguments in ((True, []), (False, ["--no-special"])):
            expected = [e.ids for e in reference.encode_batch(texts, add_special_tokens=special)]
            answers = ask(program, path, [{"text": t} for t in texts], *arguments)
            assert len(answers) == len(texts)
            different += [(t, e, a) for t, e, a in zip(texts, expected, answers) if a.get("token_ids") != e]
        # Random ids, half of them single bytes, give ill-formed UTF-8 in all its forms.
        r = random.Random(seed)
        size = reference.get_vocab_size()
        ids = [[r.randrange(r.choice((256, size))) for _ in range(r.randrange(20))] for _ in texts]
        for skip, arguments in ((False, []), (True, ["--no-special"])):
            expected = reference.decode_batch(ids, skip_special_tokens=skip)
            answers = ask(program, path, [{"token_ids": i} for i in ids], *arguments)
            assert len(answers) == len(ids)
            different += [(i, e, a) for i, e, a in zip(ids, expected, answers) if a.get("text") != e]
    return different


def code_points():
    """Those assigned in Unicode 13 or earlier, later, and a sample of those that are not; no surrogates."""
    old, new, unassigned = [], [], []
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        age = unicodedataplus.age(chr(c))
        if age == "Unassigned":
            unassigned.append(c)
        else:
            (old if float(age) <= 13 else new).append(c)
    return old, [chr(c) for c in new + unassigned[::97]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default=ROOT / "build/release/tests/tokenizer_batch")
    parser.add_argument("--count", type=int, default=10000, help="texts per kind of tokenizer")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    base = json.loads((ROOT / "deploy/models/tiny/tokenizer.json").read_text(encoding="utf-8"))
    old, newer = code_points()
    failures = 0
    print(f"tokenizers {tokenizers.__version__}, seed {arguments.seed}, {arguments.count} texts each")
    for name, document in variants(base):
        contents = [token["content"] for token in document["added_tokens"]]
        texts = TextSource(arguments.seed, old, contents)
        different = compare(arguments.program, document, [texts.text() for _ in range(arguments.count)], arguments.seed)
        failures += len(different)
        print(f"{name}: {len(different)} differences", flush=True)
        for given, expected, answer in different[:5]:
            print(f"  {given!a}\n    expected {expected!a}\n    got      {answer!a}")
        different = compare(arguments.program, document, [f"a{c}\u0301 {c}1" for c in newer], arguments.seed)
        listed = sorted({f"U+{ord(t[1]):04X}" for t, _, _ in different if isinstance(t, str)})
        print(f"{name}: {len(listed)} of {len(newer)} newer or unassigned code points differ {' '.join(listed)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
