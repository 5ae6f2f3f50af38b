#!/usr/bin/env python3
"""Compares Baton's CPU engine with llama.cpp, built natively from PyPI's llama-cpp-python source.

Builds the peer once into --work, converts the model, then runs llama-bench, llama-batched-bench and Baton's engine_cpu in turn
and prints the ratio of medians for prefill of 512 tokens, decode at depth 0 and 512, eight sequences, and the cost of INT8 KV.
A sample counts when other processes used less than --noise CPUs meanwhile; a noisy one is repeated, and marked if it stays so.

Needs: python3-venv, a C++ compiler, cmake, ninja; for a GGUF file of the model, `gguf` and `numpy` from PyPI (installed into
a virtual environment under --work). The first build of the peer takes some 20 minutes on two cores.
"""

import argparse
import dataclasses
import datetime
import json
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile

from interleaved import Run, collect, summarize

ROOT = pathlib.Path(__file__).resolve().parents[3]
VERSION = "0.3.36"
SDIST = f"llama_cpp_python-{VERSION}"
PROGRAMS = ["llama-bench", "llama-quantize", "llama-batched-bench"]
BUILD_FLAGS = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_OPENMP=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
]
# Some virtual machines announce AMX and end a program that uses it.
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16" if platform.machine() == "x86_64" else ""
# What the machine has but for that, or what processors without AVX-512 have.
TARGET_FLAGS = {
    "native": ["-DGGML_NATIVE=ON", f"-DCMAKE_C_FLAGS={NO_AMX}", f"-DCMAKE_CXX_FLAGS={NO_AMX}"],
    "avx2": ["-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON", "-DGGML_BMI2=ON"],
}
PREFILL_TYPES = ["F16", "BF16", "Q8_0", "Q4_0"]
BATCH = {"prompt": 512, "tokens": 64, "sequences": 8}


def call(*command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


def peer_programs(work, target):
    """Folder of the peer's programs; builds what is missing."""
    source = work / SDIST / "vendor" / "llama.cpp"
    build = source / ("build" if target == "native" else f"build-{target}")
    if all((build / "bin" / name).exists() for name in PROGRAMS):
        return build / "bin"
    if not source.exists():
        requirement = f"llama-cpp-python=={VERSION}"
        # "--no-binary :all:" would build the build tools from source too.
        call(sys.executable, "-m", "pip", "download", "--no-binary", "llama-cpp-python", "--no-deps", "--dest", work, requirement)
        with tarfile.open(work / f"{SDIST}.tar.gz") as archive:
            archive.extractall(work)
        for stray in list((work / SDIST).rglob(".git")):  # of submodules: ninja would run cmake for ever
            shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
    call("cmake", "-S", source, "-B", build, "-G", "Ninja", *BUILD_FLAGS, *TARGET_FLAGS[target])
    call("ninja", "-C", build, *PROGRAMS)
    return build / "bin"


def peer_models(work, programs, model):
    """{type: GGUF file} of the model; makes what is missing."""
    folder = work / "models"
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: folder / f"{model.name}-{kind}.gguf" for kind in ["F32", *PREFILL_TYPES]}
    if not files["F32"].exists():
        python = work / "venv" / "bin" / "python"
        if not python.exists():
            call(sys.executable, "-m", "venv", work / "venv")
            call(python, "-m", "pip", "install", "--quiet", "gguf", "numpy")
        call(python, pathlib.Path(__file__).with_name("gguf_convert.py"), model, files["F32"])
    for kind in PREFILL_TYPES:
        if not files[kind].exists():
            call(programs / "llama-quantize", files["F32"], files[kind], kind, stdout=subprocess.DEVNULL)
    return files


def parse_llama_bench(text):
    speeds = {}
    for row in map(json.loads, filter(None, text.splitlines())):
        column = f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}@{row['n_depth']}"
        speeds[column] = statistics.median(row["samples_ts"])
    return speeds


def parse_batched_bench(text):
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {f"{row['pl']}xtg{row['tg']}@{row['pp']}": row["speed_tg"] for row in rows}


def parse_engine(text):
    return {row["workload"]: row["tokens_per_s"] for row in json.loads(text)["rows"]}


def peer_run(args, programs, files, kind, kv, decode):
    what = ["-p", "0", "-n", "64", "-d", "0,512"] if decode else ["-p", "512", "-n", "0", "-d", "0"]
    command = [programs / "llama-bench", "-m", files[kind], "-t", args.threads, "-r", args.repeat, *what]
    command += ["-ctk", kv, "-ctv", kv, "-o", "jsonl"]
    name = f"llama.cpp {'decode' if decode else 'prefill'} {kind} kv {kv}"
    return Run(name, [str(part) for part in command], parse_llama_bench)


def peer_batch_run(args, programs, files, kind, kv):
    context = BATCH["sequences"] * (BATCH["prompt"] + BATCH["tokens"])
    command = [programs / "llama-batched-bench", "-m", files[kind], "-t", args.threads, "-tb", args.threads, "-c", context]
    command += ["-b", "2048", "-ub", "512", "-npp", BATCH["prompt"], "-ntg", BATCH["tokens"], "-npl", BATCH["sequences"]]
    command += ["-ctk", kv, "-ctv", kv, "--output-format", "jsonl"]
    return Run(f"llama.cpp batch {kind} kv {kv}", [str(part) for part in command], parse_batched_bench)


def engine_run(args, weights, kv, workloads):
    command = [args.engine, "--model", args.model, "--weights", weights, "--kv", kv, "--threads", args.threads]
    command += ["--repeat", args.repeat, "--workloads", workloads, "--output", "json"]
    name = f"baton {'prefill' if workloads == 'pp512' else 'decode'} {weights} kv {kv}"
    return Run(name, [str(part) for part in command], parse_engine)


def all_runs(args, programs, files):
    """The peer and ours side by side, so that a slow minute hits both."""
    runs = []
    for kind in PREFILL_TYPES:
        runs.append(peer_run(args, programs, files, kind, "f16", decode=False))
        if kind == "F16":
            runs.append(peer_run(args, programs, files, kind, "q8_0", decode=False))
        elif kind == "BF16":
            runs.append(engine_run(args, "w8a8", "fp16", "pp512"))
        elif kind == "Q8_0":
            runs.append(engine_run(args, "w8a8", "int8", "pp512"))
    decode = "tg64@0,tg64@512,8xtg64@512"
    for kv, peer_kv in [("fp16", "f16"), ("int8", "q8_0")]:
        runs.append(peer_run(args, programs, files, "Q4_0", peer_kv, decode=True))
        runs.append(engine_run(args, "w4a8", kv, decode))
        runs.append(peer_batch_run(args, programs, files, "Q4_0", peer_kv))
        runs.append(engine_run(args, "w4a16", kv, decode))
    return runs


def best(summary, prefix, column):
    """Name of the fastest of the runs whose name starts so."""
    names = [name for name in summary if name.startswith(prefix) and column in summary[name]]
    return max(names, key=lambda name: summary[name][column]["median"])


def comparisons(summary):
    """(what, column, our run, the peer's run) of every line of the table."""
    lines = []
    for kv in ["fp16", "int8"]:
        peer = best(summary, "llama.cpp prefill", "pp512")
        lines.append((f"prefill 512, W8A8, KV {kv}", "pp512", f"baton prefill w8a8 kv {kv}", peer))
    for column, text in [("tg64@0", "decode at 0"), ("tg64@512", "decode at 512"), ("8xtg64@512", "8 sequences at 512")]:
        kind = "batch" if column.startswith("8x") else "decode"
        peer = best(summary, f"llama.cpp {kind}", column)
        for weights in ["w4a8", "w4a16"]:
            for kv in ["fp16", "int8"]:
                lines.append((f"{text}, {weights.upper()}, KV {kv}", column, f"baton decode {weights} kv {kv}", peer))
    lines.append(("INT8 KV against FP16, Baton", "pp512", "baton prefill w8a8 kv int8", "baton prefill w8a8 kv fp16"))
    lines.append(("INT8 KV against FP16, llama.cpp", "pp512", "llama.cpp prefill F16 kv q8_0", "llama.cpp prefill F16 kv f16"))
    return lines


def report(summary):
    def show(cell):
        mark = "*" if cell["quiet"] == 0 else ""
        return f"{cell['median']:.0f} ({cell['min']:.0f}-{cell['max']:.0f}){mark}"

    print(f"{'tokens/s: median (min-max)':40} {'ours':>24} {'other':>24} {'ratio':>6}  other is")
    rows = []
    for text, column, ours, other in comparisons(summary):
        a, b = summary[ours][column], summary[other][column]
        ratio = a["median"] / b["median"]
        rows.append({"what": text, "ours": {"run": ours, **a}, "other": {"run": other, **b}, "ratio": ratio})
        print(f"{text:40} {show(a):>24} {show(b):>24} {ratio:6.2f}  {other}")
    print("* taken beside other load" if any(c["quiet"] == 0 for r in summary.values() for c in r.values()) else "all quiet")
    return rows


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cpus": info.count("processor\t:"), "kernel": platform.release()}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the peer's source, build and models; kept")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="Llama checkpoint in the Hugging Face layout")
    engine = ROOT / "build" / "release" / "bench" / "engine_cpu"
    parser.add_argument("--engine", type=pathlib.Path, default=engine, help="our program (default: of preset release)")
    parser.add_argument("--target", choices=TARGET_FLAGS, default="native", help="instructions of the peer (default native)")
    parser.add_argument("--threads", type=int, default=2, help="of both (default 2)")
    parser.add_argument("--rounds", type=int, default=9, help="times that every program runs (default 9)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions in one run; their median is a sample (default 3)")
    parser.add_argument("--noise", type=float, default=0.04, help="CPUs of other load from which a sample is noisy (default 0.04)")
    parser.add_argument("--attempts", type=int, default=4, help="times to try for a quiet sample (default 4)")
    parser.add_argument("--json", type=pathlib.Path, help="also write everything measured to this file")
    parser.add_argument("--build-only", action="store_true", help="build and convert, measure nothing")
    return parser.parse_args()


def main():
    args = parse_args()
    args.work = args.work.resolve()
    args.model = args.model.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    programs = peer_programs(args.work, args.target)
    files = peer_models(args.work, programs, args.model)
    if args.build_only:
        return
    samples = collect(all_runs(args, programs, files), args.rounds, args.noise, args.attempts)
    summary = summarize(samples, args.noise)
    print(f"\nmodel {args.model.name}, {args.threads} threads, {args.rounds} rounds, llama-cpp-python {VERSION} ({args.target})")
    rows = report(summary)
    if args.json:
        taken = {name: [dataclasses.asdict(sample) for sample in of] for name, of in samples.items()}
        everything = {
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "model": args.model.name,
            "threads": args.threads,
            "peer": {"version": VERSION, "target": args.target},
            "comparisons": rows,
            "samples": taken,
        }
        args.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
