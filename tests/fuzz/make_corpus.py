#!/usr/bin/env python3
"""Makes the seed corpora from the fixtures of the formats. Run by hand; the outputs are committed:

    python3 make_corpus.py

Standard library only. Crashers that a fuzzer finds are put beside the seeds by hand and stay.
"""

import json
import pathlib
import shutil

HERE = pathlib.Path(__file__).parent
CORPUS = HERE / "corpus"
FORMATS = HERE.parent / "common" / "quant" / "formats" / "fixtures"
MODELS = HERE.parent / "common" / "model" / "fixtures"
TINY = HERE.parent.parent / "deploy" / "models" / "tiny"
# The smallest case of each branch of the readers.
CASES = {"awq": ["gemm_older"], "gptq": ["v1_sym", "three_bits", "v1_static_groups"], "fp8": ["static", "block", "fbgemm"],
         "compressed_tensors": ["pack_tensor_int8", "pack_act_order", "pack_channel_asym", "int4_group_asym", "float_block"],
         "bitsandbytes": ["fp4", "nf4_nested", "int8"], "hqq": ["int3_rows", "int4_columns", "int8_rows", "int2_rows"]}


def read_safetensors(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    return {name: (entry["dtype"], entry["shape"], raw[8 + size:][slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


def safetensors(tensors):
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + data


def put(target, name, content):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(content)


def formats():
    for folder, names in CASES.items():
        tensors = read_safetensors(FORMATS / folder / "cases.safetensors")
        cases = {c["case"]: c for c in json.loads((FORMATS / folder / "cases.json").read_text())["cases"]}
        for name in names:
            own = {"m." + key[len(name) + 1:]: value for key, value in tensors.items()
                   if key.startswith(name + ".") and not key.endswith(".expected")}
            config = json.dumps(cases[name]["quantization_config"], separators=(",", ":")).encode()
            put("formats", f"{folder}_{name}", config + b"\n" + bytes([cases[name]["n"], cases[name]["k"]]) + safetensors(own))


def tokenizer(pattern, normalizer, template):
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (chr(256 + i) for i in range(256))
    vocab = {chr(b) if b in printable else next(others): b for b in range(256)} | {"th": 256, "the": 257, "\u0120the": 258}
    split = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    if pattern:
        split = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}
    return json.dumps({
        "added_tokens": [{"id": 259, "content": "<|x|>", "special": True, "normalized": False, "single_word": False,
                          "lstrip": True, "rstrip": False}],
        "normalizer": normalizer, "pre_tokenizer": split, "post_processor": template, "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "ignore_merges": True, "vocab": vocab, "merges": ["t h", ["th", "e"], "\u0120 the"]}},
        separators=(",", ":")).encode()


def main():
    shutil.copyfile(MODELS / "llama.gguf", make("gguf") / "llama")
    shutil.copyfile(MODELS / "blocks.gguf", make("gguf") / "blocks")
    folder = FORMATS / "model"
    put("safetensors", "first_shard", (folder / "model-00001-of-00002.safetensors").read_bytes())
    put("safetensors", "types", safetensors({
        "a": ("BF16", [2, 2], bytes(8)), "b": ("F8_E4M3", [3], bytes(3)), "c": ("I64", [], bytes(8)), "d": ("BOOL", [0, 4], b"")}))
    put("config_json", "quantized", (folder / "config.json").read_bytes())
    put("config_json", "tiny", (TINY / "config.json").read_bytes())
    put("config_json", "qwen3_llama3_rope", json.dumps({
        "architectures": ["Qwen3ForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 256, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6, "rope_theta": 5e5, "eos_token_id": [1, 2],
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 128}}).encode())
    llama3 = json.loads((TINY / "tokenizer.json").read_text())["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    template = {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<|x|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "special_tokens": {"<|x|>": {"id": "<|x|>", "ids": [259], "tokens": ["<|x|>"]}}}
    put("tokenizer_json", "gpt2", tokenizer(None, None, None))
    put("tokenizer_json", "llama3", tokenizer(llama3, {"type": "NFC"}, template))
    formats()


def make(target):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    return CORPUS / target


if __name__ == "__main__":
    main()
