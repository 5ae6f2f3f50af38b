#!/usr/bin/env python3
"""Checks what a reviewer should not have to: sizes of files, words that do not belong in the source, and types
that are defined twice."""

import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
# A header named -inl.h holds bodies (Highway code compiled once per target) and counts as a .cc.
LIMITS = {".h": 200, ".cc": 400, ".cu": 500, ".cuh": 500}
TEST_LIMIT = 600
# Files over their limit, each with its reason.
EXCEPTIONS = {
    "common/stream/in_process.h": "template bodies of both ends of a stream",
}
FORBIDDEN = [
    (re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), "unfinished work", ()),
    (re.compile(r"\bgetenv\s*\("), "getenv outside main", ("main.cc", "tests/")),
    (re.compile(r"\bsleep_for\b|\busleep\s*\(|\bsleep_until\b"), "a sleep", ()),
    (re.compile(r"\.detach\s*\("), "a detached thread", ()),
    (re.compile(r"std::async\b"), "std::async", ()),
    (re.compile(r"absl::Mutex\b"), "absl::Mutex (invisible to race detectors here)", ()),
]


def files():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    names = listed.stdout.splitlines() if listed.returncode == 0 else [
        str(p.relative_to(ROOT)) for top in ("kernels", "common", "router", "prefill_node", "decode_node", "tests")
        for p in (ROOT / top).rglob("*") if p.is_file()]
    return [n for n in names if pathlib.Path(n).suffix in LIMITS and (ROOT / n).exists()]


def limit_of(name):
    if name.startswith("tests/"):
        return TEST_LIMIT
    return LIMITS[".cc" if name.endswith("-inl.h") else pathlib.Path(name).suffix]


TYPE_OR_BRACE = re.compile(
    r"namespace\s*([\w:]*)\s*\{"
    r"|(?:^|\n)(?:template\s*<[^{;]*?>\s*)?(?:struct|class|enum class)\s+(\w+)(?:\s+final)?\s*(?::(?!:)[^;{]*)?\{"
    r"|[{}]")


def types_of(text, name):
    """Full names of the types that a file defines in namespaces; an unnamed namespace is the file's own."""
    found, open_braces = [], []
    for match in TYPE_OR_BRACE.finditer(re.sub(r"//.*", "", text)):
        if match[0] == "}":
            open_braces = open_braces[:-1]
        elif match[0].startswith("namespace"):
            open_braces.append(match[1] or name)
        else:
            if match[2] and None not in open_braces:
                found.append("::".join([*open_braces, match[2]]))
            open_braces.append(None)
    return found


class SourceLintTest(unittest.TestCase):
    def test_there_is_something_to_check(self):
        self.assertGreater(len(files()), 100)

    def test_sizes(self):
        over = []
        for name in files():
            limit = limit_of(name)
            lines = len((ROOT / name).read_text().splitlines())
            if lines > limit and name not in EXCEPTIONS:
                over.append(f"{name}: {lines} lines, expected at most {limit}")
        self.assertEqual([], over)

    def test_types_have_one_definition(self):
        """Two of one name are one to the linker, which keeps one destructor for both."""
        places = {}
        for name in files():
            for type_name in types_of((ROOT / name).read_text(), name):
                places.setdefault(type_name, set()).add(name)
        self.assertIn("baton::kernels::Range", places)
        self.assertEqual({}, {t: sorted(where) for t, where in places.items() if len(where) > 1})

    def test_exceptions_are_needed(self):
        for name in EXCEPTIONS:
            lines = len((ROOT / name).read_text().splitlines())
            self.assertGreater(lines, limit_of(name), f"{name} needs no exception any more")

    def test_words(self):
        found = []
        for name in files():
            for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
                for pattern, what, allowed in FORBIDDEN:
                    if pattern.search(line) and not any(part in name for part in allowed):
                        found.append(f"{name}:{number}: {what}")
        self.assertEqual([], found)


if __name__ == "__main__":
    unittest.main()
