"""One fixed forward of the transformer, to see whether a LoRA changes anything at all.

The input is noise of a fixed seed, the same for every candidate: it needs no encoder, and a LoRA with an effect on
real input has one on this. It does not say whether the effect is any good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_LEVELS = (0.9, 0.4)
_SIDE = 8
_TEXT_TOKENS = 24


def fixed_forward(parts: Any, engine: Any, copies: int = 1) -> Tensor:
    """Velocities for fixed noise at two noise levels: 2 × tokens × channels, fp32, on the CPU.

    Args:
        parts: The loaded base.
        engine: Computes the forwards (see `engine.py`).
        copies: Batch size; every row has the same input, and only the first is returned.
    """
    import torch

    from whichlora.families._qwen.calls import Call

    config = parts.transformer.config
    generator = torch.Generator("cpu").manual_seed(20509)
    tokens = torch.randn(1, 2 * _SIDE * _SIDE, config.in_channels, generator=generator)
    text = torch.randn(1, _TEXT_TOKENS, config.joint_attention_dim, generator=generator)
    tokens = tokens.expand(copies, -1, -1).to(parts.device, parts.dtype)
    text = text.expand(copies, -1, -1).to(parts.device, parts.dtype)
    shapes = [[(1, _SIDE, _SIDE), (1, _SIDE, _SIDE)]] * copies
    half = _SIDE * _SIDE
    call = Call("probe", tokens[:, :half], (tokens[:, half:],), text, shapes)
    with torch.inference_mode():
        engine.begin(torch.tensor(_LEVELS, device=parts.device, dtype=parts.dtype))
        outputs = [engine.forward([call], step)[0][:1].float().cpu() for step in range(len(_LEVELS))]
    return torch.cat(outputs)


def largest_change(before: Tensor, after: Tensor) -> float:
    """Largest change of any value, relative to the root mean square of `before`; infinite if not finite."""
    import torch

    if not bool(torch.isfinite(after).all()):
        return float("inf")
    scale = float(before.square().mean().sqrt())
    change = float((after - before).abs().max())
    return change / scale if scale > 0 else (float("inf") if change > 0 else 0.0)


def noise_floor(parts: Any, engine: Any) -> float:
    """Largest change between forwards of the same weights: once more, and as a batch of two (other kernels)."""
    first = fixed_forward(parts, engine)
    again, in_batch = fixed_forward(parts, engine), fixed_forward(parts, engine, copies=2)
    return max(largest_change(first, again), largest_change(first, in_batch))
