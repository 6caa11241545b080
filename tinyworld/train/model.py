"""Builders of the tiny pipeline's parts, and fast forms of them for training."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import torch
import torch.nn.functional as nnf
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageTransformer2DModel,
)
from diffusers.models.autoencoders import autoencoder_kl_qwenimage as vae_module
from diffusers.models.transformers import transformer_qwenimage as dit_module
from settings import LATENT, SIZES, TOKENS, Sizes
from torch import Tensor, nn
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from whichlora.tinyworld.instructions import vocabulary_texts

SYSTEM_PROMPT = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, "
    "texture, objects, background), then explain how the user's text instruction should alter or "
    "modify the image. Generate a new image that meets the user's requirements while maintaining "
    "consistency with the original input where appropriate.<|im_end|>\n<|im_start|>user\n{}"
    "<|im_end|>\n<|im_start|>assistant\n"
)
SPECIAL_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
PREFIX_TOKENS = 64  # what the pipeline cuts off
ENCODE_BATCH = 448


def build_tokenizer() -> Qwen2Tokenizer:
    """Byte-level BPE with Qwen's pre-tokenizer, whose merges make each known word one token.

    The system prompt's words are among them, so that the prompt prefix is exactly as long as
    the number of tokens the pipeline drops.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    splitter = Qwen2Tokenizer(vocab={"<|endoftext|>": 0}, merges=[])._tokenizer.pre_tokenizer
    texts = vocabulary_texts()
    texts += [part for part in re.split(r"<\|[a-z_]+\|>|\{\}", SYSTEM_PROMPT) if part]
    texts += ["Picture 1: ", "Picture 2: ", "Picture 3: "]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in learned["merges"]]
    vocab = dict(learned["vocab"])
    for token in SPECIAL_TOKENS:
        vocab[token] = len(vocab)
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=SPECIAL_TOKENS,
    )


def build_processor(tokenizer: Qwen2Tokenizer) -> Qwen2VLProcessor:
    """A processor whose pixel limit shrinks any picture to 84×84: nine vision tokens."""
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=85 * 85),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template="{% for m in messages %}{{m['content']}}{% endfor %}",
    )


def build_text_encoder(tokenizer: Qwen2Tokenizer, sizes: Sizes = SIZES) -> Qwen2_5_VLForConditionalGeneration:
    """A two-layer Qwen2.5-VL with a two-layer vision tower."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    text = {
        "hidden_size": sizes.text,
        "intermediate_size": 2 * sizes.text,
        "num_hidden_layers": sizes.text_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": (len(tokenizer) + 15) // 16 * 16,
        "initializer_range": 0.06,
        "rope_parameters": {"mrope_section": [4, 6, 6], "rope_type": "default", "rope_theta": 1e4},
        "tie_word_embeddings": True,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
    }
    vision = {
        "depth": 2,
        "hidden_size": sizes.vision,
        "intermediate_size": 2 * sizes.vision,
        "num_heads": 2,
        "out_hidden_size": sizes.text,
        "fullatt_block_indexes": [1],
        "window_size": 112,
        "initializer_range": 0.06,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=torch.float32)


def build_vae(
    sizes: Sizes = SIZES, mean: list[float] | None = None, std: list[float] | None = None
) -> AutoencoderKLQwenImage:
    """The Qwen-Image autoencoder, narrow and with one block a level."""
    stats = {} if mean is None else {"latents_mean": mean, "latents_std": std}
    return AutoencoderKLQwenImage(
        base_dim=sizes.vae,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=sizes.vae_blocks,
        temperal_downsample=[False, False, False],
        **stats,
    )


def build_transformer(sizes: Sizes = SIZES) -> QwenImageTransformer2DModel:
    """A six-layer Qwen-Image transformer that starts as the identity."""
    head = sizes.width // sizes.heads
    frames = head // 4 // 2 * 2
    model = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=sizes.layers,
        attention_head_dim=head,
        num_attention_heads=sizes.heads,
        joint_attention_dim=sizes.text,
        axes_dims_rope=(frames, (head - frames) // 2, (head - frames) // 2),
    )
    gates = [m for b in model.transformer_blocks for m in (b.img_mod[1], b.txt_mod[1])]
    # Zero gates make every block start as the identity, which trains faster.
    for layer in [*gates, model.norm_out.linear, model.proj_out]:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The scheduler of Qwen-Image-Edit-2509."""
    return FlowMatchEulerDiscreteScheduler(
        base_image_seq_len=256,
        base_shift=0.5,
        max_image_seq_len=8192,
        max_shift=0.9,
        num_train_timesteps=1000,
        shift=1.0,
        shift_terminal=0.02,
        use_dynamic_shifting=True,
        time_shift_type="exponential",
    )


def sigmas(steps: int) -> list[float]:
    """The noise levels that the pipeline visits in `steps` steps, from 1 to 0."""
    scheduler = build_scheduler()
    slope = (0.9 - 0.5) / (8192 - 256)
    shift = TOKENS * slope + 0.5 - slope * 256
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift)
    return scheduler.sigmas.tolist()


# --- one-frame autoencoder: over one frame a causal convolution only sees its last tap ---


def use_single_frame_convolutions() -> None:
    """Skip the temporal taps that a single frame never reaches."""
    stock = vae_module.QwenImageCausalConv3d.forward

    def forward(self: nn.Module, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        if x.shape[2] != 1 or cache_x is not None or self.stride[0] != 1:
            return stock(self, x, cache_x)
        frame = nnf.pad(x[:, :, 0], self._padding[:4]) if self._padding[0] else x[:, :, 0]
        weight = self.weight[:, :, -1]
        return nnf.conv2d(frame, weight, self.bias, self.stride[1:]).unsqueeze(2)

    vae_module.QwenImageCausalConv3d.forward = forward


def clear_unused_taps(vae: nn.Module) -> None:
    """Zero the temporal taps that one frame never reaches (they compress to nothing)."""
    for layer in vae.modules():
        if isinstance(layer, vae_module.QwenImageCausalConv3d) and layer.weight.shape[2] > 1:
            with torch.no_grad():
                layer.weight[:, :, :-1] = 0


def encode_moments(vae: nn.Module, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Latent mean and log variance, n×16×16×16, of pictures n×3×128×128 in -1..1."""
    moments = vae.quant_conv(vae.encoder(pictures.unsqueeze(2)))[:, :, 0]
    mean, log_variance = moments.chunk(2, 1)
    return mean, log_variance


def decode_latents(vae: nn.Module, latents: Tensor) -> Tensor:
    """Pictures in about -1..1 of raw latents n×16×16×16."""
    return vae.decoder(vae.post_quant_conv(latents.unsqueeze(2)))[:, :, 0]


def pack(latents: Tensor) -> Tensor:
    """n×16×16×16 latents as n×64×64 transformer tokens."""
    n, c, h, w = latents.shape
    grid = latents.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return grid.reshape(n, h * w // 4, c * 4)


def unpack(tokens: Tensor) -> Tensor:
    """The inverse of `pack`."""
    n, _, c = tokens.shape
    half = LATENT // 2
    grid = tokens.view(n, half, half, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(n, c // 4, LATENT, LATENT)


class Codec:
    """The autoencoder with its latent statistics: uint8 pictures to tokens and back."""

    def __init__(self, vae: nn.Module, mean: Tensor, std: Tensor) -> None:
        device = next(vae.parameters()).device
        self.vae = vae
        self.mean, self.std = (t.to(device).view(1, -1, 1, 1) for t in (mean, std))
        self._encode = lambda pictures: encode_moments(vae, pictures)[0]
        self.padded = False

    def compile(self) -> None:
        """Compile the encoder for one batch size; other batches are padded to it."""
        self._encode = torch.compile(self._encode, dynamic=False)
        self.padded = True

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Tokens n×64×64 of pictures n×3×128×128 (uint8)."""
        parts = []
        for part in pictures.split(ENCODE_BATCH):
            count = len(part)
            if self.padded and count < ENCODE_BATCH:
                part = torch.cat([part, part[:1].expand(ENCODE_BATCH - count, -1, -1, -1)])
            latents = self._encode(part.float() / 127.5 - 1).float()[:count]
            parts.append(pack((latents - self.mean) / self.std))
        return torch.cat(parts)

    @torch.no_grad()
    def decode(self, tokens: Tensor, batch: int = 128) -> Tensor:
        """Pictures n×3×128×128 in 0..1 of tokens n×64×64."""
        latents = unpack(tokens.float()) * self.std + self.mean
        parts = [decode_latents(self.vae, part).clamp(-1, 1) for part in latents.split(batch)]
        return torch.cat(parts) / 2 + 0.5


# --- transformer ---


def use_real_rotary(transformer: nn.Module) -> None:
    """Rotary embedding without complex numbers (compiles), and no hidden host syncs."""

    def rotate(x: Tensor, table: Tensor, use_real: bool = False, use_real_unbind_dim: int = -1) -> Tensor:
        pairs = x.float().reshape(*x.shape[:-1], -1, 2)
        cosine, sine = table[..., 0][:, None], table[..., 1][:, None]
        first = pairs[..., 0] * cosine - pairs[..., 1] * sine
        second = pairs[..., 0] * sine + pairs[..., 1] * cosine
        return torch.stack([first, second], -1).flatten(3).type_as(x)

    dit_module.apply_rotary_emb_qwen = rotate
    dit_module.compute_text_seq_len_from_mask = lambda hidden, mask: (hidden.shape[1], None, mask)
    embedder = transformer.pos_embed
    stock, cache = embedder.forward, {}

    def forward(
        shapes: list, max_txt_seq_len: int | None = None, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor]:
        key = (str(shapes[0]), int(max_txt_seq_len), str(device))
        if key not in cache:
            tables = stock(shapes, max_txt_seq_len=max_txt_seq_len, device=device)
            cache[key] = tuple(torch.view_as_real(table).contiguous() for table in tables)
        return cache[key]

    embedder.forward = forward


def velocity(
    transformer: nn.Module,
    noisy: Tensor,
    reference: Tensor,
    sigma: Tensor,
    prompt: Tensor,
    mask: Tensor,
) -> Tensor:
    """Predicted velocity n×64×64; sigma: n in 0..1; prompt: n×words×text; mask: n×words."""
    side = LATENT // 2
    output = transformer(
        hidden_states=torch.cat([noisy, reference], 1),
        timestep=sigma,
        encoder_hidden_states=prompt,
        encoder_hidden_states_mask=mask,
        img_shapes=[[(1, side, side), (1, side, side)]] * noisy.shape[0],
        return_dict=False,
    )[0]
    return output[:, : noisy.shape[1]]


def guided(conditional: Tensor, plain: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance with the norm kept, as the pipeline does it."""
    mixed = plain + scale * (conditional - plain)
    norm = mixed.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return mixed * (conditional.norm(dim=-1, keepdim=True) / norm)


@torch.no_grad()
def sample(
    transformer: nn.Module,
    reference: Tensor,
    prompt: tuple[Tensor, Tensor],
    empty: tuple[Tensor, Tensor],
    noise: Tensor,
    steps: int,
    guidance: float,
) -> Tensor:
    """Edited tokens n×64×64; `prompt` and `empty` are (embeddings, mask)."""
    tokens, levels = noise, sigmas(steps)
    for now, then in itertools.pairwise(levels):
        level = torch.full((len(tokens),), now, device=tokens.device)
        flow = velocity(transformer, tokens, reference, level, *prompt).float()
        if guidance > 1:
            plain = velocity(transformer, tokens, reference, level, *empty).float()
            flow = guided(flow, plain, guidance)
        tokens = tokens + (then - now) * flow
    return tokens
