#!/usr/bin/env python3
"""Checks includes and link lines against the layer table of the root README.

A folder may use only folders on lines above its own (and itself). Lines tagged [leaf] include nothing of Abseil, Protobuf or
our other layers; lines tagged [pure] nothing of gRPC, UCX, NCCL, CUDA or Prometheus; folders tagged [sibling] never use each
other. Libraries named *_core are pure wherever they live.
"""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
SERVER_HEADERS = re.compile(r"^(grpc|ucp/|ucs/|uct/|nccl|cuda|prometheus/|baton/v1/.*\.grpc\.pb\.h)")
NOT_FOR_LEAVES = re.compile(r"^(absl/|google/protobuf|baton/v1/|nlohmann/|fmt/)")
SERVER_TARGETS = re.compile(r"gRPC::|prometheus-cpp|proto_grpc|ucx|UCX|NCCL|CUDA::")


def read_table():
    text = (ROOT / "README.md").read_text()
    block = re.search(r"## Layers.*?```text\n(.*?)```", text, re.S)
    if not block:
        sys.exit("README.md: no text block under '## Layers'")
    table = {}
    for rank, line in enumerate(block.group(1).strip().splitlines()):
        folder = line.split()[0].rstrip("/")
        table[folder] = (rank, set(re.findall(r"\[(\w+)\]", line)))
    return table


TABLE = read_table()


def folder_of(path):
    """The table's folder that holds a path: the longest that matches."""
    best = None
    for folder in TABLE:
        if path == folder or path.startswith(folder + "/"):
            if best is None or len(folder) > len(best):
                best = folder
    return best


def sources():
    for top in ("kernels", "common", "router", "prefill_node", "decode_node"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".h", ".cc", ".cu", ".cuh"):
                yield path


def libraries():
    """(folder, name, sources, dependencies) of each baton_library and baton_program."""
    for top in ("kernels", "common", "router", "prefill_node", "decode_node"):
        for path in sorted((ROOT / top).rglob("CMakeLists.txt")):
            text = re.sub(r"#.*", "", path.read_text())
            folder = str(path.parent.relative_to(ROOT))
            for name, body in re.findall(r"baton_(?:library|program)\(\s*([\w-]+)(.*?)\)", text, re.S):
                words = body.split()
                deps = words[words.index("DEPS") + 1:] if "DEPS" in words else []
                srcs = words[words.index("SRCS") + 1:words.index("DEPS") if "DEPS" in words else None] if "SRCS" in words else []
                yield folder, name, srcs, deps


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1)


class LayeringTest(unittest.TestCase):
    def allowed(self, user, used):
        if user == used:
            return True
        user_rank, user_tags = TABLE[user]
        used_rank, used_tags = TABLE[used]
        if "sibling" in user_tags and "sibling" in used_tags:
            return False
        return used_rank < user_rank

    def test_every_source_is_in_the_table(self):
        self.assertEqual([], [str(p.relative_to(ROOT)) for p in sources() if folder_of(str(p.relative_to(ROOT))) is None])

    def test_includes_point_up(self):
        wrong = []
        for path in sources():
            name = str(path.relative_to(ROOT))
            folder = folder_of(name)
            tags = TABLE[folder][1]
            for number, header in includes(path):
                used = "proto" if header.startswith("baton/v1/") else folder_of(header)
                if used and not self.allowed(folder, used):
                    wrong.append(f"{name}:{number}: {folder} includes {header}")
                if "leaf" in tags and (NOT_FOR_LEAVES.match(header) or (used and used != folder)):
                    wrong.append(f"{name}:{number}: a leaf includes {header}")
                if "pure" in tags and SERVER_HEADERS.match(header):
                    wrong.append(f"{name}:{number}: a pure library includes {header}")
        self.assertEqual([], wrong)

    def test_link_lines_point_up(self):
        owner = {name: folder for folder, name, _, _ in libraries()}
        owner.update({"proto": "proto", "proto_grpc": "proto"})
        wrong = []
        for folder, name, _, deps in libraries():
            table_folder = folder_of(folder)
            for dep in deps:
                if not dep.startswith("baton::"):
                    continue
                target = dep.removeprefix("baton::")
                if target not in owner:
                    continue  # aggregates; the includes are checked anyway
                if not self.allowed(table_folder, folder_of(owner[target])):
                    wrong.append(f"{folder}: {name} links {dep}")
        self.assertEqual([], wrong)

    def test_cores_and_pure_folders_link_no_server_library(self):
        wrong = []
        for folder, name, srcs, deps in libraries():
            pure = name.endswith("_core") or "pure" in TABLE[folder_of(folder)][1]
            if not pure:
                continue
            wrong += [f"{folder}: {name} links {dep}" for dep in deps if SERVER_TARGETS.search(dep)]
            for src in srcs:
                for candidate in (src, src.replace(".cc", ".h")):
                    path = ROOT / folder / candidate
                    if path.exists():
                        wrong += [f"{folder}/{candidate}:{n}: {h}" for n, h in includes(path) if SERVER_HEADERS.match(h)]
        self.assertEqual([], wrong)

    def test_the_rules_can_fail(self):
        self.assertFalse(self.allowed("common/base", "common/kv"))
        self.assertFalse(self.allowed("prefill_node", "decode_node"))
        self.assertTrue(self.allowed("router", "common/base"))


if __name__ == "__main__":
    unittest.main()
