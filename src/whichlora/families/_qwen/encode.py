"""Encode an instruction with its pictures, and a photograph for the denoiser; decode latents.

The text encoder sees true positions: pictures lie in a plane, words on a line. With transformers 5 the stock pipeline
forgets to say which tokens are pictures, so the encoder falls back to a line for everything and every embedding
changes. `positions='stock'` reproduces that, for whoever must.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from whichlora.errors import UserError
from whichlora.families._qwen.geometry import fit_area, pack, unpack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

TextPositions = Literal["true", "stock"]

SYSTEM_PROMPT = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a new "
    "image that meets the user's requirements while maintaining consistency with the original input where "
    "appropriate.<|im_end|>\n<|im_start|>user\n"
)
CLOSING = "<|im_end|>\n<|im_start|>assistant\n"
PICTURE = "Picture {}: <|vision_start|><|image_pad|><|vision_end|>"
ONE_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
"""How the first Qwen-Image-Edit marks its only picture."""
DROPPED_TOKENS = 64
"""Tokens of the system prompt, cut off after encoding. The stock pipeline hard-codes this number."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptEncoding:
    """An instruction as the denoiser reads it, kept in host memory."""

    embeds: Tensor
    """1 × tokens × width."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageLatents:
    """Packed latents of one picture, kept in host memory."""

    tokens: Tensor
    """1 × tokens × channels."""
    height_px: int
    """Height of the picture that they stand for."""
    width_px: int
    """Width of it."""


def check_tokenizer(tokenizer: Any) -> None:
    """Make sure that cutting 64 tokens removes the system prompt and nothing else.

    Raises:
        UserError: The tokenizer splits the system prompt into another number of tokens.
    """
    found = len(tokenizer(SYSTEM_PROMPT)["input_ids"])
    if found != DROPPED_TOKENS:
        raise UserError(
            f"The base's tokenizer makes {found} tokens of the system prompt, but Qwen-Image-Edit cuts off "
            f"{DROPPED_TOKENS}: instructions would be damaged.",
            fix="Use the tokenizer that belongs to the base.",
        )


def encode_prompt(parts: Any, prompt: str, pictures: list[Any], area_px: int, positions: TextPositions) -> Tensor:
    """Encode an instruction together with its pictures.

    Args:
        parts: The loaded base.
        prompt: The instruction.
        pictures: RGB arrays, in the order in which the instruction may name them ('Picture 1', …).
        area_px: Pixel area to which each picture is resized for the text encoder.
        positions: 'true', or 'stock' for what the pipeline does with transformers 5.

    Returns:
        Embeddings, 1 × tokens × width, where the text encoder runs.
    """
    import torch

    shown = [_resize(picture, area_px) for picture in pictures]
    marks = "".join(PICTURE.format(i + 1) for i in range(len(shown)))
    if parts.places.one_picture:
        if len(shown) != 1:
            raise UserError(f"The first Qwen-Image-Edit takes one picture; this edit has {len(shown)}.",
                            fix="Remove references from the case, or use Qwen-Image-Edit-2509 or 2511.")
        marks = ONE_PICTURE
    text = SYSTEM_PROMPT + marks + prompt + CLOSING
    inputs = parts.processor(text=[text], images=shown or None, padding=True, return_tensors="pt")
    inputs = inputs.to(parts.encoder_device)
    encoder = parts.text_encoder
    arguments = {
        "input_ids": inputs["input_ids"],
        "attention_mask": inputs["attention_mask"],
        "pixel_values": inputs.get("pixel_values"),
        "image_grid_thw": inputs.get("image_grid_thw"),
    }
    # transformers 4 finds the pictures by itself and has no such argument
    if positions == "true" and "mm_token_type_ids" in inspect.signature(encoder.model.forward).parameters:
        arguments["mm_token_type_ids"] = (inputs["input_ids"] == encoder.config.image_token_id).int()
    with torch.inference_mode():
        hidden = encoder.model(**arguments, use_cache=False).last_hidden_state
    return hidden[:, DROPPED_TOKENS:].to(parts.dtype)


def encode_image(parts: Any, picture: NDArray[np.uint8], area_px: int) -> ImageLatents:
    """Encode a photograph, resized to about `area_px` pixels, as the mode of the VAE's posterior."""
    import torch

    height, width = fit_area(area_px, *picture.shape[:2])
    pixels = _image_processor().preprocess(_image(picture), height, width).unsqueeze(2)
    with torch.inference_mode():
        latents = parts.vae.encode(pixels.to(parts.device, parts.dtype)).latent_dist.mode()
        mean, std = _statistics(parts.vae, latents)
        latents = (latents - mean) / std
    return ImageLatents(pack(latents[:, :, 0]).cpu(), height, width)


def decode(parts: Any, latents: ImageLatents) -> NDArray[np.uint8]:
    """Turn packed latents into an RGB picture."""
    import numpy as np
    import torch

    height, width = latents.height_px // 8, latents.width_px // 8
    with torch.inference_mode():
        tokens = unpack(latents.tokens.to(parts.device), height, width).unsqueeze(2).to(parts.dtype)
        mean, std = _statistics(parts.vae, tokens)
        # divided by the reciprocal, as the pipeline does, so that rounding agrees
        pixels = parts.vae.decode(tokens / (1.0 / std) + mean, return_dict=False)[0][:, :, 0]
        image = _image_processor().postprocess(pixels, output_type="pil")[0]
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    import torch

    shape = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(shape).to(like.device, like.dtype)
    std = torch.tensor(vae.config.latents_std).view(shape).to(like.device, like.dtype)
    return mean, std


def _image(picture: NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(picture).convert("RGB")


def _resize(picture: NDArray[np.uint8], area_px: int) -> Any:
    height, width = fit_area(area_px, *picture.shape[:2])
    return _image_processor().resize(_image(picture), height, width)


def _image_processor() -> Any:
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor(vae_scale_factor=16)
