"""Tiny random FLUX bases in diffusers' layout, built from configuration and a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxKontextPipeline,
    FluxTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
)

HEADS, HEAD = 2, 16
WIDTH = HEADS * HEAD


def _shaken(model):
    """Random weights large enough that every part of the input reaches the output."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.copy_(torch.randn_like(weight) * 0.7 / weight.shape[1] ** 0.5)
    return model


def _bytes(folder: Path, kind, **special):
    """A tokenizer that makes one token of each byte."""
    folder.mkdir(parents=True)
    vocab = {token: number for number, token in enumerate(special.values())}
    for char in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocab.setdefault(char, len(vocab))
    core = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=next(iter(special.values()))))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=core, **special), len(vocab)


def kontext(folder: Path) -> Path:
    torch.manual_seed(1)
    words, size = _bytes(folder / "t5words", None, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    import json

    clip = folder / "clipwords"
    clip.mkdir()
    vocab = {char: number for number, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {f"{char}</w>": len(vocab) + number for number, char in enumerate(list(vocab))}
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocab[token] = len(vocab)
    (clip / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (clip / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(str(clip / "vocab.json"), str(clip / "merges.txt"), model_max_length=77)
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(vocab), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=16, bos_token_id=vocab["<|startoftext|>"], eos_token_id=vocab["<|endoftext|>"],
        pad_token_id=vocab["<|endoftext|>"]))
    t5 = T5EncoderModel(T5Config(vocab_size=size, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3))
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(8, 8), layers_per_block=1, latent_channels=4,
        norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5)
    transformer = _shaken(FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=HEAD,
        num_attention_heads=HEADS, joint_attention_dim=24, pooled_projection_dim=16, guidance_embeds=True,
        axes_dims_rope=(4, 6, 6)))
    FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=vae, text_encoder=_shaken(text),
        tokenizer=tokenizer, text_encoder_2=_shaken(t5), tokenizer_2=words, transformer=transformer,
    ).save_pretrained(folder / "base")
    return folder / "base"


def klein(folder: Path) -> Path:
    torch.manual_seed(2)
    words, size = _bytes(folder / "words", None, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    words.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    text = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=28, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=1024))
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4)
    with torch.no_grad():
        vae.bn.running_mean.copy_(torch.linspace(-0.3, 0.3, vae.bn.running_mean.numel()))
        vae.bn.running_var.copy_(torch.linspace(0.6, 1.4, vae.bn.running_var.numel()))
    transformer = _shaken(Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=HEAD,
        num_attention_heads=HEADS, joint_attention_dim=48, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False))
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=vae, text_encoder=_shaken(text),
        tokenizer=words, transformer=transformer,
    ).save_pretrained(folder / "base")
    return folder / "base"


def pairs(seed: int, modules: dict[str, tuple[int, int]], rank: int = 4, size: float = 0.5) -> dict:
    """Module → (B, A) drawn at random."""
    rng = np.random.default_rng(seed)
    return {
        name: ((rng.standard_normal((rows, rank)) * size / rank**0.5).astype(np.float32),
               rng.standard_normal((rank, columns)).astype(np.float32))
        for name, (rows, columns) in modules.items()
    }


def save(path: Path, drawn: dict, *, prefix="transformer.", style="AB", alpha: float | None = None) -> Path:
    """Write pairs in a layout: 'AB' (lora_A, lora_B), 'updown', or 'kohya' (underscores, down and up)."""
    from safetensors.numpy import save_file

    out = {}
    for name, (up, down) in drawn.items():
        stem = prefix + (name.replace(".", "_") if style == "kohya" else name)
        first, second = ("lora_A", "lora_B") if style == "AB" else ("lora_down", "lora_up")
        out[f"{stem}.{first}.weight"], out[f"{stem}.{second}.weight"] = down, up
        if alpha is not None:
            out[f"{stem}.alpha"] = np.array(alpha, np.float32)
    save_file(out, path)
    return path
