"""Broken and hostile LoRA files, each with a word that the reason of its refusal must hold.

Every builder starts from a sound file for the tiny model and spoils one thing; the tests also check that the unspoilt
file passes. Used by the tests and by the bench.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lora import factory

Q = "transformer_blocks.0.attn.to_q"
K = "transformer_blocks.1.attn.add_k_proj"
DOWN, UP = f"transformer.{Q}.lora_A.weight", f"transformer.{Q}.lora_B.weight"
CASES: dict[str, tuple[str, Callable[[Path], Path]]] = {}


def sound(spelling: str = "diffusers", alpha: float | None = 2.0, rank: int = 4) -> dict:
    """Tensors of a file that must pass."""
    return dict(factory.plain(factory.SPELLINGS[spelling], factory.MODULES, rank, alpha).tensors)


def case(name: str, word: str):
    """Register a builder that writes a whole file."""
    def register(build: Callable[[Path], Path]) -> Callable[[Path], Path]:
        assert name not in CASES, name
        CASES[name] = (word, build)
        return build
    return register


def spoil(name: str, word: str, change: Callable[[dict], dict | None], spelling: str = "diffusers", metadata=None):
    """Register a case that changes the tensors of a sound file."""
    def build(folder: Path) -> Path:
        tensors = sound(spelling)
        tensors = change(tensors) or tensors
        return factory.write(folder / "bad.safetensors", tensors, metadata)
    case(name, word)(build)


def renamed(rule: Callable[[str], str]) -> Callable[[dict], dict]:
    return lambda tensors: {rule(key): value for key, value in tensors.items()}


def without(part: str) -> Callable[[dict], dict]:
    return lambda tensors: {key: value for key, value in tensors.items() if part not in key}


def times(part: str, factor: float) -> Callable[[dict], dict]:
    return lambda tensors: {key: value * factor if part in key else value for key, value in tensors.items()}


def put(**new) -> Callable[[dict], dict]:
    return lambda tensors: {**tensors, **{key.replace("__", "."): value for key, value in new.items()}}


def poke(key: str, value: float) -> Callable[[dict], dict]:
    def change(tensors: dict) -> dict:
        spoilt = tensors[key].copy()
        spoilt.reshape(-1)[-1] = value
        return {**tensors, key: spoilt}
    return change


def _cancelling() -> dict:
    """Rows of A that add up to nothing but rounding, under equal columns of B."""
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 24)).astype(np.float32)
    return {DOWN: np.stack([first, second, -(first + second)]), UP: np.repeat(rng.normal(size=(24, 1)), 3, axis=1)}


# ------------------------------------------------------------- names
spoil("wrong prefix unet.", "unmatched", renamed(lambda key: key.replace("transformer.", "unet.", 1)))
spoil("wrong prefix model.", "unmatched", renamed(lambda key: key.replace("transformer.", "model.", 1)))
spoil("double prefix", "unmatched", renamed(lambda key: "transformer." + key))
spoil("kohya prefix lora_", "unmatched", renamed(lambda key: key.replace("lora_unet_", "lora_")), "kohya")
spoil("kohya underscores wrong", "unmatched", renamed(lambda key: key.replace("to_q", "toq")), "kohya")
spoil("one wrong key", "unmatched", renamed(lambda key: key.replace("0.attn.to_q", "0.attn.to_qq")))
spoil("one extra plain tensor", "unmatched", put(transformer__strange=np.ones((2, 2))))
spoil("a plain weight among the pairs", "unmatched", put(transformer__img_in__weight=np.ones((24, 16))))
spoil("blocks deeper than the model", "deeper", renamed(lambda key: key.replace("blocks.1.", "blocks.2.")))
spoil("block 999999", "deeper", renamed(lambda key: key.replace("blocks.1.", "blocks.999999.")))
spoil("kohya blocks deeper", "deeper", renamed(lambda key: key.replace("blocks_1_", "blocks_60_")), "kohya")
spoil("negative block", "unmatched", renamed(lambda key: key.replace("blocks.1.", "blocks.-1.")))
spoil("mixed prefixes", "mixes", lambda t: {**t, **sound("comfy")})
spoil("mixed spellings", "mixes", lambda t: {**without(K)(t), **{
    key: value for key, value in sound("onetrainer").items() if K in key and "alpha" not in key}})
spoil("two adapters in one file", "more than one adapter", lambda t: {**t, **{
    key.replace(".weight", ".second.weight"): value for key, value in t.items()}})
spoil("the same module by two spellings of a stem", "second time|twice|mixes", lambda t: {
    **t, f"transformer.{Q}.lora.down.weight": t[DOWN], f"transformer.{Q}.lora.up.weight": t[UP]})
spoil("nested peft prefix names a module twice", "twice", lambda t: {
    **{key.replace("transformer.", "base_model.model.", 1): value for key, value in t.items()},
    **{"base_model.model." + key: value for key, value in t.items()}})
spoil("text encoder part", "text-encoder", put(text_encoder__layers__0__q_proj__lora_A__weight=np.ones((4, 24))))
spoil("right to left name", "unmatched", put(**{"transformer__img\u202eni__lora_A__weight": np.ones((4, 4))}))

# ------------------------------------------------------------- pairs
spoil("every lora_A missing", "lacks its lora_A", without("lora_A"))
spoil("every lora_B missing", "lacks its lora_B", without("lora_B"))
spoil("one lora_A missing", "lacks its lora_A", without(DOWN))
spoil("one lora_B missing", "lacks its lora_B", without(UP))
spoil("kohya down missing", "lacks its lora_A", without("attn_to_q.lora_down"), "kohya")
spoil("alpha without a pair", "missing", lambda t: {**t, "lora_unet_img_in.alpha": np.asarray(2.0)}, "kohya")
spoil("A and B exchanged", "do not fit|another model", renamed(
    lambda key: key.replace("lora_A", "X").replace("lora_B", "lora_A").replace("X", "lora_B")))
spoil("A transposed", "do not fit", lambda t: {**t, DOWN: t[DOWN].T})
spoil("ranks of A and B differ", "do not fit", lambda t: {**t, DOWN: t[DOWN][:3]})
spoil("one-dimensional A", "do not fit", lambda t: {**t, DOWN: t[DOWN].reshape(-1)})
spoil("convolution-shaped pair", "do not fit", lambda t: {**t, DOWN: t[DOWN][:, :, None, None]})
spoil("unknown algebra OFT", "OFT", put(transformer__img_in__oft_blocks=np.ones((2, 4, 4))))
spoil("Tucker factor", "Tucker", put(transformer__img_in__lora_mid__weight=np.ones((4, 4))))
spoil("pair and difference on one weight", "two ways", put(**{f"transformer.{Q}.diff": np.ones((24, 24))}))
spoil("LoKr without its second factor", "missing", put(transformer__img_in__lokr_w1=np.ones((4, 4))))
spoil("LoKr factor twice", "ambiguous", put(
    transformer__img_in__lokr_w1=np.ones((4, 4)), transformer__img_in__lokr_w1_a=np.ones((4, 2)),
    transformer__img_in__lokr_w1_b=np.ones((2, 4)), transformer__img_in__lokr_w2=np.ones((6, 4))))
spoil("LoHa without a factor", "lacks LoHa", put(
    transformer__img_in__hada_w1_a=np.ones((24, 2)), transformer__img_in__hada_w1_b=np.ones((2, 16)),
    transformer__img_in__hada_w2_a=np.ones((24, 2))))
spoil("LoKr of the wrong size", "another model", put(
    transformer__img_in__lokr_w1=np.ones((4, 4)), transformer__img_in__lokr_w2=np.ones((6, 5))))

# ------------------------------------------------------------- shapes
spoil("another model's width", "another model", lambda t: {
    **t, DOWN: np.ones((4, 32)), UP: np.ones((32, 4))})
spoil("bias of the wrong length", "another model", put(**{f"transformer.{Q}.diff_b": np.ones(25)}))
spoil("difference of the wrong shape", "another model", put(transformer__img_in__diff=np.ones((16, 24))))
spoil("bias on a normalisation", "unmatched", put(**{"transformer.txt_norm.diff_b": np.ones(20)}))
spoil("rank 0", "empty dimension", lambda t: {**t, DOWN: np.zeros((0, 24)), UP: np.zeros((24, 0))})
spoil("rank 2^27 by an empty tensor", "empty dimension|do not fit", lambda t: t | {
    DOWN: np.zeros((2**27, 0)), UP: np.zeros((0, 2**27))})
spoil("rank 2^27 on both sides", "empty dimension", lambda t: t | {
    DOWN: np.zeros((2**27, 0)), UP: np.zeros((24, 0))})
spoil("rank 1025", "1,025", lambda t: t | {DOWN: np.ones((1025, 24)), UP: np.ones((24, 1025))})
spoil("whole numbers for weights", "floating-point", lambda t: t | {DOWN: ("I8", np.ones((4, 24)))})
ALPHA = f"lora_unet_{Q.replace('.', '_')}.alpha"
spoil("alpha of four values", "single number", lambda t: {**t, ALPHA: np.ones(4)}, "kohya")
spoil("empty alpha", "single number", lambda t: {**t, ALPHA: np.ones(0)}, "kohya")

# ------------------------------------------------------------- values
spoil("lora_B all zero", "exactly zero", times("lora_B", 0.0))
spoil("lora_A all zero", "exactly zero", times("lora_A", 0.0))
spoil("alpha in two spellings", "second time", lambda t: {
    **t, ALPHA.replace(".alpha", ".default.alpha"): np.asarray(8.0)}, "kohya")
spoil("alpha zero", "exactly zero", times("alpha", 0.0), "kohya")
spoil("B and A never meet", "exactly zero", lambda t: {
    key: value * (np.arange(4)[:, None] < 2) if "lora_A" in key else value * (np.arange(4) >= 2)
    for key, value in t.items()})
spoil("B times A is rounding noise", "exactly zero", lambda t: _cancelling())
spoil("one NaN", "not finite", poke(DOWN, np.nan))
spoil("one infinity", "not finite", poke(UP, -np.inf))
spoil("all NaN", "not finite", times("lora_A", np.nan))
spoil("values times 1e38", "absurdly large", times("lora_B", 1e37))
spoil("one value of 1e30", "absurdly large", poke(UP, 1e30))
spoil("alpha 1e30", "absurdly large", times("alpha", 1e30), "kohya")
spoil("alpha NaN", "finite", times("alpha", np.nan), "kohya")
spoil("alpha infinite", "finite", times("alpha", np.inf), "kohya")
spoil("alpha negative", "negative", times("alpha", -1.0), "kohya")
spoil("double precision beyond single", "not finite", lambda t: t | {UP: ("F64", t[UP] * 1e300)})


@case("NaN in bfloat16", "not finite")
def _(folder: Path) -> Path:
    return factory.write(folder / "bad.safetensors", poke(DOWN, np.nan)(sound()), dtype="BF16")


@case("NaN in 8 bits", "not finite")
def _(folder: Path) -> Path:
    path = factory.write(folder / "bad.safetensors", sound(), dtype="F8_E4M3")
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    return path


# ------------------------------------------------------------- DoRA
def _with_magnitudes(change: Callable[[dict], dict]) -> Callable[[dict], dict]:
    def build(tensors: dict) -> dict:
        for module, (rows, _) in factory.MODULES.items():
            tensors[f"transformer.{module}.lora_magnitude_vector"] = np.ones(rows)
        return change(tensors)
    return build


RECORD = {"lora_adapter_metadata": json.dumps({"transformer.use_dora": True, "transformer.lora_alpha": 4})}
spoil("DoRA without its magnitudes", "DoRA without its magnitudes", dict, metadata=RECORD)
spoil("kohya DoRA without its magnitudes", "DoRA without", dict, "kohya",
      {"ss_network_args": '{"dora_wd": "True", "algo": "lora"}'})
spoil("one magnitude missing", "without all its magnitudes", _with_magnitudes(without(f"{Q}.lora_magnitude")))
spoil("magnitudes of the wrong length", "magnitudes", _with_magnitudes(
    put(**{f"transformer.{Q}.lora_magnitude_vector": np.ones(23)})))
spoil("magnitudes in two spellings", "second time", _with_magnitudes(
    put(**{f"transformer.{Q}.dora_scale": np.ones((24, 1))})))
spoil("magnitudes all zero", "magnitudes", _with_magnitudes(times("magnitude", 0.0)))
spoil("magnitude NaN", "not finite", _with_magnitudes(times("magnitude", np.nan)))
spoil("magnitudes without matrices", "no matrices", _with_magnitudes(
    lambda t: {key: value for key, value in t.items() if Q not in key or "magnitude" in key}))

# ------------------------------------------------------------- strength stated elsewhere
spoil("strength stated twice", "stated twice", dict, "kohya",
      {"lora_adapter_metadata": '{"lora_alpha": 64, "r": 4}'})
spoil("record of another rank", "rank 32", dict, metadata={"lora_adapter_metadata": '{"lora_alpha": 64, "r": 32}'})
spoil("record is no JSON", "not valid JSON", dict, metadata={"lora_adapter_metadata": "{"})
spoil("record of nested brackets", "not valid JSON", dict, metadata={"lora_adapter_metadata": "[" * 100_000})
spoil("record with a hostile pattern", "pattern", dict,
      metadata={"lora_adapter_metadata": '{"lora_alpha": 4, "alpha_pattern": {"(a+)+$": 2}}'})
spoil("record with alpha as text", "not as a number", dict, metadata={"lora_adapter_metadata": '{"lora_alpha": "4"}'})
spoil("record with alpha NaN", "JSON|number|sense", dict, metadata={"lora_adapter_metadata": '{"lora_alpha": NaN}'})
spoil("record of a changed base (PiSSA)", "changed base", dict,
      metadata={"lora_adapter_metadata": '{"lora_alpha": 4, "init_lora_weights": "pissa_niter_4"}'})
spoil("record of another method", "OFT", dict, metadata={"lora_adapter_metadata": '{"peft_type": "OFT"}'})


@case("sidecar of another rank", "rank 32")
def _(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text('{"r": 32, "lora_alpha": 64}', encoding="utf-8")
    return factory.write(folder / "adapter_model.safetensors", sound("peft without record"))


@case("sidecar that is no text", "cannot be read")
def _(folder: Path) -> Path:
    (folder / "adapter_config.json").write_bytes(b"\xff\xfe\x00")
    return factory.write(folder / "adapter_model.safetensors", sound("peft without record"))


# ------------------------------------------------------------- other models
def _family(name: str, word: str, sizes: dict[str, tuple[int, int]], prefix: str = "transformer.", flat: bool = False):
    spelling = factory.Spelling("", prefix, **(factory.KOHYA if flat else {}))

    def build(folder: Path) -> Path:
        return factory.sparse(folder / "bad.safetensors", spelling, sizes, 2)
    case(name, word)(build)


_family("FLUX.1 by diffusers", "FLUX.1", {
    "transformer_blocks.0.attn.to_q": (3072, 3072), "single_transformer_blocks.0.attn.to_q": (3072, 3072)})
_family("FLUX.1 by kohya", "FLUX.1", {"double_blocks_0_img_attn_qkv": (9216, 3072)}, "lora_unet_", flat=True)


@case("FLUX.1 that could be Qwen", "FLUX.1")
def _(folder: Path) -> Path:
    sizes = {f"transformer_blocks.{i}.attn.to_q": (3072, 3072) for i in range(19)}
    return factory.sparse(folder / "bad.safetensors", factory.SPELLINGS["diffusers"], sizes, 2)


_family("FLUX.2", "FLUX.2", {"single_transformer_blocks.0.attn.to_qkv_mlp_proj": (9216, 3072)})
_family("Z-Image", "Z-Image", {"layers.0.attention.to_q": (3840, 3840)}, "diffusion_model.")
_family("Qwen-Image-2.1", "Qwen-Image-2.1", {
    "transformer_blocks.0.attn.to_q": (4096, 4096), "transformer_blocks.0.img_mlp.gate_layer": (12288, 4096)})
_family("Qwen-Image-2.1, attention only", "Qwen-Image-2.1", {"transformer_blocks.0.attn.to_q": (4096, 4096)})
_family("SDXL", "stable-diffusion-xl", {"down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k": (640, 2048)},
        "lora_unet_", flat=True)
_family("SD 1.5", "stable-diffusion-v1-5", {"down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k": (640, 768)},
        "lora_unet_", flat=True)
_family("Wan video", "Wan", {"blocks.0.self_attn.q": (1536, 1536)}, "diffusion_model.")
_family("LoRA of a ControlNet", "ControlNet", {"controlnet.transformer_blocks.0.attn.to_q": (24, 24)})


@case("ControlNet", "ControlNet")
def _(folder: Path) -> Path:
    return factory.write(folder / "bad.safetensors", {"controlnet_blocks.0.weight": np.ones((24, 24)),
                                                      "transformer_blocks.0.attn.to_q.weight": np.ones((24, 24))})


@case("full model", "full model")
def _(folder: Path) -> Path:
    return factory.write(folder / "bad.safetensors", {f"{m}.weight": np.ones(s) for m, s in factory.MODULES.items()})


@case("no tensors", "no tensors")
def _(folder: Path) -> Path:
    return factory.write(folder / "bad.safetensors", {}, {"format": "pt"})


@case("an embedding", "LoRA")
def _(folder: Path) -> Path:
    return factory.write(folder / "bad.safetensors", {"emb_params": np.ones((2, 768))})


# ------------------------------------------------------------- the container
def _bytes(name: str, word: str, data: bytes):
    def build(folder: Path) -> Path:
        (folder / "bad.safetensors").write_bytes(data)
        return folder / "bad.safetensors"
    case(name, word)(build)


_bytes("empty file", "empty", b"")
_bytes("web page", "web page", b"<!DOCTYPE html><html>Please sign in</html>")
_bytes("git-LFS pointer", "LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 850000000\n")
_bytes("pickle", "pickle", b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01cos\nsystem\nq\x02X\x02\x00\x00\x00idq\x03\x85Rs.")
_bytes("zip of torch", "zip", b"PK\x03\x04\x00\x00\x08\x08\x00\x00" + b"archive/data.pkl" * 9)
_bytes("error message", "JSON", b'{"error":"Invalid username or password."}')
_bytes("random bytes", "not a safetensors", bytes(np.random.default_rng(0).integers(128, 256, 4096, dtype=np.uint8)))
_bytes("header length 2^63", "claims", struct.pack("<Q", 2**63) + b"{" + b" " * 64)
_bytes("deeply nested header", "JSON", struct.pack("<Q", 10**6) + (b'{"a":' + b"[" * 10**6)[: 10**6])


def _cut(name: str, word: str, keep: float):
    def build(folder: Path) -> Path:
        path = factory.write(folder / "bad.safetensors", sound())
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])
        return path
    case(name, word)(build)


_cut("truncated in the data", "truncated", 0.6)
_cut("truncated in the header", "truncated", 0.01)


@case("trailing bytes", "after its last")
def _(folder: Path) -> Path:
    path = factory.write(folder / "bad.safetensors", sound())
    path.write_bytes(path.read_bytes() + b"#!/bin/sh\n")
    return path


def _declared(name: str, word: str, entries: dict, data: bytes):
    case(name, word)(lambda folder: factory.write_raw(folder / "bad.safetensors", entries, data))


_ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
_declared("overlapping offsets", "overlap", {
    DOWN: {"dtype": "F32", "shape": [4, 24], "data_offsets": [0, 384]},
    UP: {"dtype": "F32", "shape": [24, 4], "data_offsets": [0, 384]},
}, b"\0" * 384)
_declared("gap in the data", "gap", {"a": _ONE, "b": {**_ONE, "data_offsets": [8, 12]}}, b"\0" * 12)
_declared("offsets beyond the file", "truncated",
          {"a": {**_ONE, "shape": [2**30], "data_offsets": [0, 2**32]}}, b"\0" * 4)
_declared("shape larger than its data", "not the size", {"a": {**_ONE, "shape": [2**40]}}, b"\0" * 4)
_declared("negative dimension", "non-negative", {"a": {**_ONE, "shape": [-1]}}, b"\0" * 4)
_declared("unknown number format", "number format", {"a": {**_ONE, "dtype": "F4"}}, b"\0" * 4)
_declared("control characters in a name", "control", {"\x1b]0;owned\x07": _ONE}, b"\0" * 4)


@case("duplicate keys", "twice")
def _(folder: Path) -> Path:
    text = json.dumps({DOWN: _ONE}).encode()
    return factory.write_raw(folder / "bad.safetensors", text[:-1] + b"," + text[1:], b"\0" * 4)


@case("a million empty tensors", "claims")
def _(folder: Path) -> Path:
    text = ",".join(f'"a{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(1_000_000))
    return factory.write_raw(folder / "bad.safetensors", b"{" + text.encode() + b"}")


@case("30,000 empty tensors", "30,000")
def _(folder: Path) -> Path:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return factory.write_raw(folder / "bad.safetensors", {f"a{i}": empty for i in range(30_000)})


@case("a wide LoRA of 1 GB of holes", "wide")
def _(folder: Path) -> Path:
    return factory.sparse(folder / "bad.safetensors", factory.SPELLINGS["diffusers"], {Q: (2**27, 2**27)}, 2)


@case("a LoRA of the true size, all zero", "exactly zero")
def _(folder: Path) -> Path:
    return factory.sparse(folder / "bad.safetensors", factory.SPELLINGS["diffusers"], factory.full_targets(2), 64)
