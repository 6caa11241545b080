"""A short fingerprint of what a family encoded, to tell which stage of a picture came out differently."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def digest(*values: Any) -> str:
    """SHA-256 (16 hexadecimal digits) over the content of encodings: arrays and tensors, records and lists of them."""
    found = hashlib.sha256()
    for value in values:
        _feed(found, value)
    return found.hexdigest()[:16]


def _feed(found: Any, value: Any) -> None:
    if type(value).__module__.partition(".")[0] == "torch":
        import torch

        bits = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        found.update(f"{value.dtype}{tuple(value.shape)}".encode() + bits.tobytes())
    elif isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, list | tuple):
        for each in (len(value), *value):
            _feed(found, each)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            _feed(found, getattr(value, field.name))
    else:
        found.update(repr(value).encode())
