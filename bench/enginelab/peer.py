"""cache-dit on the stock pipeline, the one peer that installs beside this torch and diffusers; skipped without it."""

from __future__ import annotations

import time
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch

from enginelab.common import Bench
from enginelab.exact import stock_call


def peer(bench: Bench) -> None:
    """Whole pictures of the stock pipeline without and with cache-dit's block cache, as its defaults are.

    It caches by a threshold, so its pictures change: it stands beside our near-lossless row, not beside the exact one.
    """
    if find_spec("cache_dit") is None:
        bench.log(peer_note="cache-dit is not installed; 'pip install cache-dit' and run this phase again")
        return
    import cache_dit  # pyright: ignore[reportMissingImports]

    session, steps = bench.session(), 12 if bench.toy else 40
    pipe, call = stock_call(bench, session)

    def picture() -> tuple[float, np.ndarray]:
        with torch.inference_mode():
            call(2)
            bench.sync()
            started = time.perf_counter()
            found = call(steps)
            bench.sync()
        return time.perf_counter() - started, np.asarray(found.images[0], dtype=float)

    plain_s, plain = picture()
    blocks = len(session._parts.transformer.transformer_blocks)
    cache_dit.enable_cache(pipe, cache_config=cache_dit.DBCacheConfig(Fn_compute_blocks=8 if blocks > 8 else 2))
    cached_s, cached = picture()
    bench.log(peer=f"cache-dit {version('cache-dit')}", peer_plain_image_40_s=plain_s, peer_cached_image_40_s=cached_s,
              peer_pixels_change=float(np.abs(cached - plain).mean()))
