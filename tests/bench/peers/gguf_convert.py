#!/usr/bin/env python3
"""Converts a Llama checkpoint in the Hugging Face layout to a GGUF file with fp32 weights.

The public converter knows pre-tokenizers by a hash over known vocabularies and refuses models trained elsewhere, and needs
torch. This one needs PyPI's `gguf` and `numpy`. Only the Llama architecture with plain rotary embedding is converted; anything
else is refused by name. fp32 holds bf16 and fp16 weights exactly; llama-quantize makes the other types.
"""

import argparse
import json
import pathlib
import sys

import gguf
import numpy as np

LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def read_safetensors(path):
    """Yields name and fp32 array of every tensor of one file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        yield name, to_fp32(data[begin:end], entry["dtype"], name).reshape(entry["shape"])


def to_fp32(raw, dtype, name):
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype in ("F16", "F32"):
        return np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[dtype]).astype(np.float32)
    sys.exit(f"{name}: dtype '{dtype}', expected BF16, F16 or F32")


def gguf_name(name):
    stem, _, kind = name.rpartition(".")
    if stem in TOP_NAMES:
        return f"{TOP_NAMES[stem]}.{kind}"
    parts = stem.split(".", 3)
    if len(parts) == 4 and parts[:2] == ["model", "layers"] and parts[3] in LAYER_NAMES:
        return f"blk.{int(parts[2])}.{LAYER_NAMES[parts[3]]}.{kind}"
    sys.exit(f"{name}: a tensor that this converter does not know")


def interleave_rotary_pairs(weight, heads):
    """Hugging Face rotates dimensions i and i + head_dim / 2 together, llama.cpp 2i and 2i + 1."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def add_hyperparameters(writer, config):
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", "default") != "default":
        sys.exit(f"rope_type: '{rope['rope_type']}', expected 'default'")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def add_tokenizer(writer, config, tokenizer):
    special = {entry["id"] for entry in tokenizer["added_tokens"] if entry["special"]}
    names = {**tokenizer["model"]["vocab"], **{e["content"]: e["id"] for e in tokenizer["added_tokens"]}}
    tokens = [f"[PAD{i}]" for i in range(config["vocab_size"])]
    types = [gguf.TokenType.UNUSED] * config["vocab_size"]
    for name, i in names.items():
        tokens[i] = name
        types[i] = gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    eos = config["eos_token_id"]
    writer.add_eos_token_id(eos[0] if isinstance(eos, list) else eos)


def add_tensors(writer, config, folder):
    heads = config["num_attention_heads"]
    paired = {"attn_q": heads, "attn_k": config.get("num_key_value_heads", heads)}
    tied = config.get("tie_word_embeddings", False)
    for path in sorted(folder.glob("*.safetensors")):
        for name, values in read_safetensors(path):
            target = gguf_name(name)
            if tied and target == "output.weight":
                continue  # llama.cpp uses the embedding where this tensor is absent
            heads_of = paired.get(target.split(".")[-2])
            if heads_of:
                values = interleave_rotary_pairs(values, heads_of)
            writer.add_tensor(target, np.ascontiguousarray(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="folder with config.json, *.safetensors, tokenizer.json")
    parser.add_argument("output", type=pathlib.Path, help="the GGUF file to write")
    args = parser.parse_args()
    config = json.loads((args.model / "config.json").read_text())
    if config["model_type"] != "llama":
        sys.exit(f"model_type: '{config['model_type']}', expected 'llama'")
    writer = gguf.GGUFWriter(args.output, "llama")
    add_hyperparameters(writer, config)
    add_tokenizer(writer, config, json.loads((args.model / "tokenizer.json").read_text()))
    add_tensors(writer, config, args.model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
