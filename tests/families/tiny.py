"""A tiny random Qwen-Image-Edit in diffusers' layout, made from configuration and a seed, for tests of the real code.

Its pictures mean nothing; its arithmetic is the true one. The tokenizer makes one token of each word of the system
prompt, so that the prompt's head is 64 tokens long, as with the real one.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from whichlora import registry
from whichlora.types import AdapterUse, Candidate, SamplerProfile

SYSTEM = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a new "
    "image that meets the user's requirements while maintaining consistency with the original input where "
    "appropriate.<|im_end|>\n<|im_start|>user\n"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
WIDTH, LAYERS, TEXT_WIDTH = 48, 2, 64
SAMPLER = SamplerProfile(
    name="tiny", num_inference_steps=3, true_cfg_scale=2.5, negative_prompt=" ",
    reference_area_px=64 * 64, condition_area_px=84 * 84,
)
PROMPTS = ["turn the camera 45 degrees to the left", "在海滩上", "Picture 1 wears the hat of Picture 2"]


def tokenizer() -> Qwen2Tokenizer:
    pre = Qwen2Tokenizer(vocab={"<|endoftext|>": 0}, merges=[])._tokenizer.pre_tokenizer
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre
    words = [part for part in re.split(r"<\|[a-z_]+\|>", SYSTEM) if part]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(words, trainers.BpeTrainer(
        vocab_size=2000, min_frequency=1, show_progress=False, initial_alphabet=alphabet))
    state = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) if not isinstance(pair, str) else tuple(pair.split(" ")) for pair in state["merges"]]
    vocab = dict(state["vocab"])
    for token in SPECIAL:
        vocab[token] = len(vocab)
    return Qwen2Tokenizer(
        vocab=vocab, merges=merges, unk_token=SPECIAL[0], pad_token=SPECIAL[0], eos_token=SPECIAL[2],
        additional_special_tokens=SPECIAL,
    )


def text_encoder(words: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    ids = {token: words.convert_tokens_to_ids(token) for token in SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": TEXT_WIDTH, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": len(words), "initializer_range": 0.2,
            "rope_parameters": {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 1e4},
            "tie_word_embeddings": True, "max_position_embeddings": 2048, "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": TEXT_WIDTH,
            "fullatt_block_indexes": [1], "window_size": 112, "initializer_range": 0.2,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=torch.float32)


def transformer(zero_cond_t: bool = False, layers: int = LAYERS) -> QwenImageTransformer2DModel:
    model = QwenImageTransformer2DModel(
        patch_size=2, in_channels=64, out_channels=16, num_layers=layers, attention_head_dim=16,
        num_attention_heads=WIDTH // 16, joint_attention_dim=TEXT_WIDTH, axes_dims_rope=(4, 6, 6),
        zero_cond_t=zero_cond_t,
    )
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.copy_(torch.randn_like(weight) * 0.9 / weight.shape[1] ** 0.5)
    return model


def vae() -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(
        base_dim=8, z_dim=16, dim_mult=[1, 2, 2, 2], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.1 * i - 0.8 for i in range(16)], latents_std=[0.5 + 0.1 * i for i in range(16)],
    )


def build(
    folder: Path, *, zero_cond_t: bool = False, dtype: torch.dtype = torch.float32, layers: int = LAYERS
) -> Path:
    """Save a whole base; `pipeline(folder)` loads it with the stock class."""
    torch.manual_seed(20509)
    words = tokenizer()
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=85 * 85), tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(), chat_template="{{ messages }}",
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        base_image_seq_len=256, base_shift=0.5, max_image_seq_len=8192, max_shift=0.9, shift_terminal=0.02,
        use_dynamic_shifting=True, time_shift_type="exponential",
    )
    QwenImageEditPlusPipeline(
        scheduler=scheduler, vae=vae(), text_encoder=text_encoder(words), tokenizer=words, processor=processor,
        transformer=transformer(zero_cond_t, layers),
    ).to(dtype).save_pretrained(folder)
    return folder


def picture(seed: int, height: int = 80, width: int = 80) -> np.ndarray:
    """A smooth random picture."""
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def lora_tensors(
    seed: int, *, rank: int = 4, size: float = 0.3, modules: tuple[str, ...] = ("attn.to_q", "attn.to_out.0"),
    layers: int = LAYERS,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Module → (B, A) drawn at random; `size` is the root mean square of B·A."""
    rng = np.random.default_rng(seed)
    shapes = {
        "attn.to_q": (WIDTH, WIDTH), "attn.to_out.0": (WIDTH, WIDTH), "attn.add_q_proj": (WIDTH, WIDTH),
        "img_mlp.net.2": (WIDTH, 4 * WIDTH), "img_mod.1": (6 * WIDTH, WIDTH),
    }
    made = {}
    for layer in range(layers):
        for name in modules:
            rows, columns = shapes[name]
            up, down = rng.standard_normal((rows, rank)), rng.standard_normal((rank, columns))
            up *= size / rank**0.5
            made[f"transformer_blocks.{layer}.{name}"] = (up.astype(np.float32), down.astype(np.float32))
    return made


def save_lora(
    path: Path, tensors: dict[str, tuple[np.ndarray, np.ndarray]], alpha: float | None = None,
    prefix: str = "transformer.",
) -> Path:
    """Write B and A (and alpha) the way diffusers or ai-toolkit does."""
    from safetensors.numpy import save_file

    out = {}
    for module, (up, down) in tensors.items():
        out[f"{prefix}{module}.lora_A.weight"] = down
        out[f"{prefix}{module}.lora_B.weight"] = up
        if alpha is not None:
            out[f"{prefix}{module}.alpha"] = np.array(alpha, dtype=np.float32)
    save_file(out, path)
    return path


def use(path: Path, weight: float = 1.0) -> AdapterUse:
    return AdapterUse(path.stem, str(path), hashlib.sha256(path.read_bytes()).hexdigest(), weight)


def candidate(*uses: AdapterUse, name: str = "x", sampler: SamplerProfile = SAMPLER) -> Candidate:
    return Candidate(name, uses, sampler=sampler)


def open_session(folder: Path, dtype: str = "float32"):
    """The product's own session on a tiny base."""
    family = registry.load("families", "qwen_image_edit")
    return family.load(family.identify(str(folder), {"dtype": dtype}), "cpu")
