#!/usr/bin/env python3
"""What rounding the KV cache costs, by a Llama of its own in NumPy: the increase of the perplexity in percent, every token of
windows of 1024 scored, beside that of `baton eval matrix --phases both` on the same windows.

    tests/oracles/kv_format_oracle.py                   16 windows; fails where the two differ
    tests/oracles/kv_format_oracle.py 64 --explain      what of fp8_e5m2 costs: K, V, the missing scale

Run by `tests/run --all`; reads ../shared/models/small and ../shared/data and is skipped, with a message, without them.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys

try:
    import numpy as np
except ImportError as missing:
    print(f"kv_format_oracle: skipped: {missing}")
    sys.exit(0)

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT.parent / "shared/models/small"
TOKENS = ROOT.parent / "shared/data/valid_65536.u16"
WINDOW = 1024
sys.path.insert(0, str(ROOT / "tests/e2e"))
from foreign_checkpoints import floats_of_bf16, read_safetensors  # noqa: E402


def half(x):
    return x.astype(np.float16).astype(np.float32)


def scaled(x, largest):
    """One scale in fp16 for the values of a head, along the last axis."""
    s = half(np.abs(x).max(-1, keepdims=True) / np.float32(largest))
    return np.where(s == 0, 1, s)


def round_float(x, mantissa, least_exponent, largest):
    """To `mantissa` explicit bits, ties to even, with subnormals; saturates."""
    exponent = np.maximum(np.frexp(x)[1] - 1, least_exponent)
    unit = np.ldexp(np.float32(1), exponent - mantissa)
    return np.clip(np.rint(x / unit) * unit, -largest, largest).astype(np.float32)


def e5m2(x):
    return round_float(x, 2, -14, 57344.0)


def e5m2_scaled(x, amax_to):
    s = np.abs(x).max(-1, keepdims=True) / np.float32(amax_to)
    return e5m2(x / s) * s


def e4m3(x):
    s = scaled(x, 448)
    return round_float(x / s, 3, -6, 448.0) * s


def int8(x):
    s = scaled(x, 127)
    return np.clip(np.rint(x / s), -127, 127) * s


def int4(x):
    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    m, s = half(low), half((high - low) / np.float32(15))
    return m + s * np.clip(np.rint((x - m) / np.where(s == 0, 1, s)), 0, 15)


def exact(x):
    return x


# name: rounding of K, of V, whether K is rounded before RoPE (Baton: after it)
FORMATS = {
    "int8": (int8, int8, False),
    "fp8_e4m3": (e4m3, e4m3, False),
    "fp8_e5m2": (e5m2, e5m2, False),
    "k8v4": (int8, int4, False),
    "int4": (int4, int4, False),
}
EXPLANATION = {
    "fp8_e5m2, K alone": (e5m2, exact, False),
    "fp8_e5m2, V alone": (exact, e5m2, False),
    "fp8_e5m2, K before RoPE": (e5m2, e5m2, True),
    "fp8_e5m2, scaled: a head's largest value on a code": (*[lambda x: e5m2_scaled(x, 57344.0)] * 2, False),
    "fp8_e5m2, scaled: the largest between two codes": (*[lambda x: e5m2_scaled(x, 53248.0)] * 2, False),
}


class Llama:
    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        self.layers, self.eps = config["num_hidden_layers"], config["rms_norm_eps"]
        self.heads, self.kv_heads, self.dim = (config[k] for k in ("num_attention_heads", "num_key_value_heads", "head_dim"))
        tensors = read_safetensors(folder / "model.safetensors")
        self.weights = {name: np.frombuffer(floats_of_bf16(data), np.float32).reshape(shape)
                        for name, (_, shape, data) in tensors.items()}
        frequencies = config["rope_parameters"]["rope_theta"] ** (-np.arange(0, self.dim, 2) / self.dim)
        angles = np.outer(np.arange(WINDOW), frequencies)[:, None]
        self.cos, self.sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.weights[name]

    def linear(self, x, layer, name):
        return x @ self.weights[f"model.layers.{layer}.{name}.weight"].T

    def rope(self, x):
        a, b = np.split(x, 2, -1)
        return np.concatenate([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)

    def attention(self, x, layer, cache):
        round_k, round_v, before_rope = cache
        q, k, v = (self.linear(x, layer, f"self_attn.{p}_proj").reshape(WINDOW, -1, self.dim) for p in "qkv")
        k = self.rope(round_k(k)) if before_rope else round_k(self.rope(k))
        q, v = self.rope(q) / np.float32(math.sqrt(self.dim)), round_v(v)
        out = np.empty_like(q)
        future = np.triu(np.full((WINDOW, WINDOW), -np.inf, np.float32), 1)
        for head in range(self.heads):
            kv = head * self.kv_heads // self.heads
            scores = q[:, head] @ k[:, kv].T + future
            p = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, head] = p / p.sum(-1, keepdims=True) @ v[:, kv]
        return self.linear(out.reshape(WINDOW, -1), layer, "self_attn.o_proj")

    def nll(self, tokens, cache):
        """Mean over tokens[1:], nats."""
        embedding = self.weights["model.embed_tokens.weight"]
        x = embedding[tokens]
        for layer in range(self.layers):
            x = x + self.attention(self.norm(x, f"model.layers.{layer}.input_layernorm.weight"), layer, cache)
            y = self.norm(x, f"model.layers.{layer}.post_attention_layernorm.weight")
            gate = self.linear(y, layer, "mlp.gate_proj")
            gated = gate / (1 + np.exp(-gate)) * self.linear(y, layer, "mlp.up_proj")
            x = x + self.linear(gated, layer, "mlp.down_proj")
        logits = self.norm(x, "model.norm.weight") @ embedding.T
        logits -= logits.max(-1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return -float(log_p[np.arange(WINDOW - 1), tokens[1:]].astype(np.float64).mean())


def increases(formats, windows):
    """{name: (increase of the perplexity, half of its 95 % interval)}, percent."""
    model = Llama(MODEL)
    tokens = np.fromfile(TOKENS, "<u2").astype(np.int64)[:windows * WINDOW].reshape(-1, WINDOW)
    reference = np.array([model.nll(t, (exact, exact, False)) for t in tokens])
    print(f"{len(tokens)} windows of {WINDOW}; NumPy's perplexity with an fp32 cache: {math.exp(reference.mean()):.4f}", flush=True)
    out = {}
    for name, cache in formats.items():
        difference = np.array([model.nll(t, cache) for t in tokens]) - reference
        spread = 1.96 * difference.std(ddof=1) / math.sqrt(len(tokens))
        out[name] = (100 * math.expm1(difference.mean()), 100 * spread)
        print(f"  {name:50s} {out[name][0]:+.3f} ± {out[name][1]:.3f}", flush=True)
    return out


def of_baton(formats, windows):
    """{format: (increase in percent, KL from an FP16 cache in nats)}"""
    command = [ROOT / "build/release/bin/baton", "eval", "matrix", "--model", MODEL, "--prefill-weights", "fp32",
               "--decode-weights", "fp32", "--kv", ",".join(formats), "--tokens", TOKENS, "--window", str(WINDOW),
               "--max-windows", str(windows), "--phases", "both", "--output", "json"]
    cells = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)["cells"]
    return {cell["kv"]: (100 * cell["increase"]["mean"], cell["kl"]["mean"]) for cell in cells}


def tolerance(kl, windows):
    """Percent. Another order of sums moves values across rounding boundaries, so the two are at worst two independent roundings:
    a token's log-probability then differs by some √(2 KL); three standard deviations of the mean over all tokens."""
    return 100 * 3 * math.sqrt(2 * kl / (windows * (WINDOW - 1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windows", nargs="?", type=int, default=16)
    parser.add_argument("--explain", action="store_true")
    options = parser.parse_args()
    if not MODEL.exists() or not TOKENS.exists():
        print("kv_format_oracle: skipped: ../shared is absent")
        return
    if options.explain:
        increases({"fp8_e5m2": FORMATS["fp8_e5m2"], **EXPLANATION}, options.windows)
        return
    ours = of_baton(FORMATS, options.windows)
    for name, (increase, _) in increases(FORMATS, options.windows).items():
        theirs, kl = ours[name]
        limit = tolerance(kl, options.windows)
        assert abs(increase - theirs) < limit, f"{name}: NumPy {increase:+.3f} %, baton {theirs:+.3f} %, expected within {limit:.3f}"
    print(f"kv_format_oracle: {len(FORMATS)} formats of the cache cost what they cost in NumPy")


if __name__ == "__main__":
    main()
