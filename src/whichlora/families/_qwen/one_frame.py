"""The exact one-frame path of the Qwen-Image VAE.

A causal 3-D convolution pads with empty frames on the left only. For a single frame every temporal tap but the last
meets those empty frames, so the layer equals a 2-D convolution with its last temporal slice: the same sums, fewer
of them. Layers for which this does not hold (a stride in time, or cached frames) keep their own code.
"""

from __future__ import annotations

from typing import Any


def use_one_frame_path(vae: Any) -> int:
    """Switch every eligible layer of a VAE to its 2-D equivalent; returns how many were switched."""
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d

    switched = 0
    for layer in vae.modules():
        if isinstance(layer, QwenImageCausalConv3d) and _eligible(layer):
            layer.forward = _one_frame_forward(layer)  # pyright: ignore[reportAttributeAccessIssue]
            switched += 1
    return switched


def _eligible(layer: Any) -> bool:
    """True when one frame meets only the last temporal tap: stride and dilation 1 in time, full causal padding."""
    causal = layer._padding[4] == layer.kernel_size[0] - 1 and layer._padding[5] == 0
    return bool(causal and layer.stride[0] == 1 and layer.dilation == (1, 1, 1) and layer.groups == 1)


def _one_frame_forward(layer: Any) -> Any:
    import torch.nn.functional as functional

    stock = layer.forward
    kernel = layer.weight[:, :, -1].detach().clone()
    left, right, top, bottom = layer._padding[:4]
    symmetric = left == right and top == bottom
    padding = (top, left) if symmetric else (0, 0)

    def forward(x: Any, cache_x: Any = None) -> Any:
        if cache_x is not None or x.shape[2] != 1:
            return stock(x, cache_x)
        frame = x[:, :, 0]
        if not symmetric:
            frame = functional.pad(frame, (left, right, top, bottom))
        return functional.conv2d(frame, kernel, layer.bias, layer.stride[1:], padding).unsqueeze(2)

    return forward
