"""Which attention kernel serves, by rule and never by what ran before, so that the same machine makes the same bits.

Left alone, torch decides once, at the first attention of a process, and a context that ends later can undo that: what
the text encoder computed would then depend on whether a picture was made before it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def attention_order(device: Any) -> AbstractContextManager[Any]:
    """On Hopper and newer cuDNN's kernel first, the fastest there; elsewhere torch's fixed order.

    Every forward of a session runs inside: text encoder, VAE, transformer and the load gate's probes.
    """
    device = torch.device(device)
    if device.type != "cuda" or torch.version.hip or torch.cuda.get_device_capability(device) < (9, 0):
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(order, set_priority=True)
