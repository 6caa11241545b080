"""How torch computes while a session works: every choice by rule, none by timing or by what ran before in the process.

An operation's kernel decides in which order it sums; chosen differently when a run is resumed, the same machine would
make other bits. What is left to torch and CUDA's libraries follows from shapes, formats and the GPU.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from whichlora.families._qwen.attention_order import attention_order


@contextmanager
def stated(device: Any, dtype: torch.dtype) -> Generator[None]:
    """Compute as stated inside; what was set before is set again afterwards.

    Args:
        device: Where the base runs.
        dtype: Its working format.

    - One order of attention kernels (`attention_order.py`).
    - Products in fp32 are not shortened to TF32, which some images for containers switch on by a variable; nor are the
      convolutions of a base in fp32. (Forbidden to a base in bf16, torch would take the matrix units from it too.) Sums
      of bf16 products may be reduced in bf16, torch's own default.
    - cuDNN takes its convolutions by rule, not by trial runs, and only those that repeat their bits.
    - Products are not tuned by trial runs (TunableOp), whatever a variable says.
    """
    cudnn: Any = torch.backends.cudnn
    cuda: Any = torch.backends.cuda.matmul
    with ExitStack() as settings:
        settings.enter_context(attention_order(device))
        settings.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
        for owner, name, value in (
            (cudnn, "benchmark", False), (cudnn, "deterministic", True), (cudnn, "allow_tf32", dtype != torch.float32),
            (cuda, "allow_bf16_reduced_precision_reduction", True),
        ):
            settings.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        if torch.device(device).type == "cuda" and torch.cuda.tunable.is_enabled():
            settings.callback(torch.cuda.tunable.enable, True)
            torch.cuda.tunable.enable(False)
        yield
