"""Writes a Llama checkpoint (bf16, tied embeddings) in formats of other programs, with Python's own library alone: GGUF with
BF16 weights, and bitsandbytes' nf4 and LLM.int8() beside a folder of the fp32 values that they stand for."""

import array
import bisect
import json
import pathlib
import shutil
import struct

# bitsandbytes' table (QLoRA, appendix E): quantiles of a normal distribution, 0 exact.
NF4 = array.array("f", [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                        0.7229568362236023, 1.0])
BLOCK = 64
SIDE_FILES = ("tokenizer.json", "generation_config.json")


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], raw[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]])
            for name, t in header.items()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(data for _, _, data in tensors.values())


def write_folder(out, base, tensors, **config):
    out.mkdir()
    for name in SIDE_FILES:
        shutil.copy(base / name, out)
    described = json.loads((base / "config.json").read_text()) | config
    (out / "config.json").write_text(json.dumps(described))
    write_safetensors(out / "model.safetensors", tensors)


def floats_of_bf16(data):
    halves = array.array("H", data)
    return array.array("f", struct.pack(f"<{len(halves)}I", *(h << 16 for h in halves)))


def quantize_nf4(values):
    """Codes (two in a byte, the first one high), magnitudes of the blocks, values that they stand for."""
    middles = [(a + b) / 2 for a, b in zip(NF4, NF4[1:])]
    codes, magnitudes, meant = [], array.array("f"), array.array("f")
    for first in range(0, len(values), BLOCK):
        block = values[first:first + BLOCK]
        magnitude = max(map(abs, block)) or 1.0
        chosen = [bisect.bisect(middles, v / magnitude) for v in block]
        codes += chosen
        magnitudes.append(magnitude)
        meant.extend(NF4[code] * magnitude for code in chosen)  # exact in fp64, rounded once
    return bytes(16 * a + b for a, b in zip(codes[::2], codes[1::2])), magnitudes, meant


def nf4_tensors(name, shape, values):
    codes, magnitudes, meant = quantize_nf4(values)
    state = json.dumps({"quant_type": "nf4", "blocksize": BLOCK, "dtype": "bfloat16", "shape": shape}).encode()
    return {name: ("U8", [len(codes), 1], codes),
            f"{name}.absmax": ("F32", [len(magnitudes)], magnitudes.tobytes()),
            f"{name}.quant_map": ("F32", [len(NF4)], NF4.tobytes()),
            f"{name}.quant_state.bitsandbytes__nf4": ("U8", [len(state)], state)}, meant


def int8_tensors(name, shape, values):
    rows, columns = shape
    codes, magnitudes, meant = array.array("b"), array.array("f"), array.array("f")
    for first in range(0, rows * columns, columns):
        row = values[first:first + columns]
        magnitudes.append(max(map(abs, row)) or 1.0)
        scale = array.array("f", [magnitudes[-1] / 127])[0]
        chosen = [round(v / scale) for v in row]
        codes.extend(chosen)
        meant.extend(code * scale for code in chosen)
    scb = name.removesuffix("weight") + "SCB"
    return {name: ("I8", shape, codes.tobytes()), scb: ("F32", [rows], magnitudes.tobytes())}, meant


def write_bitsandbytes(base, out, kind):
    """OUT/KIND, kind nf4 or int8, and OUT/KIND-values with the same weights in fp32."""
    make = {"nf4": nf4_tensors, "int8": int8_tensors}[kind]
    quantized, plain = {}, {}
    for name, (dtype, shape, data) in read_safetensors(base / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            quantized[name] = plain[name] = (dtype, shape, data)
            continue
        tensors, meant = make(name, shape, floats_of_bf16(data))
        quantized |= tensors
        plain[name] = ("F32", shape, meant.tobytes())
    flag = {"nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "int8": {"load_in_8bit": True}}[kind]
    write_folder(out / kind, base, quantized, quantization_config={"quant_method": "bitsandbytes"} | flag)
    write_folder(out / f"{kind}-values", base, plain)


# GGUF: types of metadata values, and of tensors.
U32, F32, STRING, ARRAY, I32, BF16_TENSOR, F32_TENSOR = 4, 6, 8, 9, 5, 30, 0
ALIGNMENT = 32
GGUF_NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
              "model.embed_tokens": "token_embd", "model.norm": "output_norm"}


def gguf_string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    if kind == STRING:
        return gguf_string(value)
    return struct.pack({U32: "<I", F32: "<f", I32: "<i"}[kind], value)


def gguf_entry(key, kind, value):
    if isinstance(value, list):
        body = struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(gguf_value(kind, v) for v in value)
    else:
        body = struct.pack("<I", kind) + gguf_value(kind, value)
    return gguf_string(key) + body


def gguf_metadata(config, tokenizer):
    heads = config["num_attention_heads"]
    added = {entry["id"]: entry["content"] for entry in tokenizer["added_tokens"]}
    names = {i: name for name, i in tokenizer["model"]["vocab"].items()} | added
    tokens = [names.get(i, f"[PAD{i}]") for i in range(config["vocab_size"])]
    kinds = [3 if i in added else 1 if i in names else 5 for i in range(config["vocab_size"])]
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    return [("general.architecture", STRING, "llama"),
            ("llama.context_length", U32, config["max_position_embeddings"]),
            ("llama.embedding_length", U32, config["hidden_size"]),
            ("llama.block_count", U32, config["num_hidden_layers"]),
            ("llama.feed_forward_length", U32, config["intermediate_size"]),
            ("llama.attention.head_count", U32, heads),
            ("llama.attention.head_count_kv", U32, config["num_key_value_heads"]),
            ("llama.rope.dimension_count", U32, config["head_dim"]),
            ("llama.rope.freq_base", F32, config["rope_parameters"]["rope_theta"]),
            ("llama.attention.layer_norm_rms_epsilon", F32, config["rms_norm_eps"]),
            ("tokenizer.ggml.model", STRING, "gpt2"),
            ("tokenizer.ggml.pre", STRING, "llama-bpe"),
            ("tokenizer.ggml.tokens", STRING, tokens),
            ("tokenizer.ggml.token_type", I32, kinds),
            ("tokenizer.ggml.merges", STRING, merges),
            ("tokenizer.ggml.bos_token_id", U32, config["bos_token_id"]),
            ("tokenizer.ggml.eos_token_id", U32, config["eos_token_id"])]


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem in GGUF_NAMES:
        return f"{GGUF_NAMES[stem]}.{kind}"
    _, _, layer, inner = stem.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[inner]}.{kind}"


def interleaved(rows, heads):
    """llama.cpp rotates rows 2i and 2i + 1 of a head together, Hugging Face i and i + head_dim / 2."""
    head = len(rows) // heads
    order = [h * head + half * head // 2 + i for h in range(heads) for i in range(head // 2) for half in (0, 1)]
    return [rows[i] for i in order]


def gguf_tensor(name, shape, data, config):
    """Type and bytes. Norms are fp32 there."""
    if len(shape) == 1:
        return F32_TENSOR, floats_of_bf16(data).tobytes()
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2])
    if heads:
        width = len(data) // shape[0]
        data = b"".join(interleaved([data[i:i + width] for i in range(0, len(data), width)], config[heads]))
    return BF16_TENSOR, data


def write_gguf(base, path):
    config = json.loads((base / "config.json").read_text())
    metadata = gguf_metadata(config, json.loads((base / "tokenizer.json").read_text()))
    tensors = read_safetensors(base / "model.safetensors")
    infos, bodies, at = b"", [], 0
    for name, (_, shape, data) in tensors.items():
        kind, body = gguf_tensor(name, shape, data, config)
        body += b"\0" * (-len(body) % ALIGNMENT)
        infos += gguf_string(gguf_name(name)) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, at)
        bodies.append(body)
        at += len(body)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    head += b"".join(gguf_entry(*entry) for entry in metadata) + infos
    path.write_bytes(head + b"\0" * (-len(head) % ALIGNMENT) + b"".join(bodies))
