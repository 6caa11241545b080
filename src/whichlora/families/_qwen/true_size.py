"""Configurations of the 20 B model (and of a toy with the same parts), to be filled with random weights.

With them the cost of the true model can be measured before a byte of it is downloaded. Tokenizer and processor are
not written: a rehearsal hands over encoded instructions of the usual length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichlora.types import SamplerProfile

TEXT_TOKENS = 285
"""Tokens of an instruction with one picture at 384² pixels, system prompt cut off."""

_SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler", "base_image_seq_len": 256, "base_shift": 0.5,
    "max_image_seq_len": 8192, "max_shift": 0.9, "num_train_timesteps": 1000, "shift": 1.0, "shift_terminal": 0.02,
    "use_dynamic_shifting": True, "time_shift_type": "exponential",
}
_TRUE: dict[str, dict[str, Any]] = {
    "transformer": {
        "patch_size": 2, "in_channels": 64, "out_channels": 16, "num_layers": 60, "attention_head_dim": 128,
        "num_attention_heads": 24, "joint_attention_dim": 3584, "axes_dims_rope": [16, 56, 56],
    },
    "vae": {"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2,
            "temperal_downsample": [False, True, True]},
    "text_encoder": {
        "text_config": {
            "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064,
            "rope_parameters": {"mrope_section": [16, 24, 24], "rope_type": "default", "rope_theta": 1e6},
        },
        "vision_config": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584,
            "fullatt_block_indexes": [7, 15, 23, 31], "window_size": 112,
        },
    },
}
_TOY: dict[str, dict[str, Any]] = {
    "transformer": {
        "patch_size": 2, "in_channels": 64, "out_channels": 16, "num_layers": 6, "attention_head_dim": 32,
        "num_attention_heads": 4, "joint_attention_dim": 64, "axes_dims_rope": [8, 12, 12],
    },
    "vae": {"base_dim": 8, "z_dim": 16, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1,
            "temperal_downsample": [False, True, True]},
    "text_encoder": {
        "text_config": {
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 4096,
            "rope_parameters": {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 1e4},
        },
        "vision_config": {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
            "fullatt_block_indexes": [1], "window_size": 112,
        },
    },
}
_CLASSES = {"transformer": "QwenImageTransformer2DModel", "vae": "AutoencoderKLQwenImage"}


def sampler_of(*, toy: bool, steps: int | None = None, guidance: float = 4.0) -> SamplerProfile:
    """The sampler that a rehearsal uses: the model card's, at a toy's size if wished."""
    side = 64 if toy else 1024
    return SamplerProfile(
        name="rehearsal", num_inference_steps=steps or 40, true_cfg_scale=guidance, reference_area_px=side * side,
        condition_area_px=(84 if toy else 384) ** 2,
    )


def write_base(folder: Path, *, toy: bool, token_ids: Mapping[str, int] | None = None) -> Path:
    """Write a base folder of random weights: configurations only.

    Args:
        folder: Where it goes.
        toy: A toy of the same architecture in place of the true size.
        token_ids: 'image_token_id' and so on, of the tokenizer that the caller puts beside it.
    """
    sizes = _TOY if toy else _TRUE
    encoder = {"model_type": "qwen2_5_vl", **sizes["text_encoder"], **(token_ids or {})}
    files: dict[str, Any] = {
        "model_index.json": {"_class_name": "QwenImageEditPlusPipeline",
                             "processor": ["transformers", "Qwen2VLProcessor"]},
        "whichlora.json": {"id": "random weights, toy" if toy else "random weights, true size",
                           "random_weights": True},
        "scheduler/scheduler_config.json": _SCHEDULER,
        "text_encoder/config.json": encoder,
    }
    for part, name in _CLASSES.items():
        files[f"{part}/config.json"] = {"_class_name": name, **sizes[part]}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return folder
