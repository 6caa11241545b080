"""Decode the number formats of safetensors files into float32, with numpy alone.

Covers what LoRA files hold: 64-, 32- and 16-bit floats, bfloat16 and the two 8-bit floats, plus integers (alpha is
now and then stored as one). It reads bytes that are already in memory or mapped; it opens no file.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_STORAGE: dict[str, Any] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"),
    "F8_E4M3": np.dtype("u1"), "F8_E5M2": np.dtype("u1"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
}

FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""Formats a weight may have."""

KNOWN = frozenset(_STORAGE)
"""Formats whose size is known."""


def item_bytes(dtype: str) -> int:
    """Bytes of one number of a known format."""
    return int(_STORAGE[dtype].itemsize)


def storage(dtype: str) -> np.dtype[Any]:
    """The numpy type that holds the raw bits; bfloat16 and 8-bit floats come as unsigned integers."""
    return _STORAGE[dtype]


def decode(raw: NDArray[Any], dtype: str) -> Float32:
    """Turn raw bits into float32 of the same shape.

    Args:
        raw: Array of `storage(dtype)`, any shape.
        dtype: Format name as in the file's header.

    Returns:
        A new float32 array. 64-bit values beyond float32's range become infinite.
    """
    if dtype == "BF16":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "F8_E4M3":
        return _e4m3_table()[raw]
    if dtype == "F8_E5M2":
        # E5M2 is the upper byte of a half-precision float.
        return (raw.astype(np.uint16) << np.uint16(8)).view(np.float16).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return raw.astype(np.float32)


def all_finite(raw: NDArray[Any], dtype: str) -> bool:
    """Whether no value is NaN or infinite, read from the bits where that is cheaper than decoding."""
    if dtype == "BF16":
        return not bool(np.any((raw & np.uint16(0x7F80)) == np.uint16(0x7F80)))
    if dtype == "F16":
        return not bool(np.any((raw.view("<u2") & np.uint16(0x7C00)) == np.uint16(0x7C00)))
    if dtype == "F8_E5M2":
        return not bool(np.any((raw & np.uint8(0x7C)) == np.uint8(0x7C)))
    if dtype == "F8_E4M3":
        return not bool(np.any((raw & np.uint8(0x7F)) == np.uint8(0x7F)))
    if dtype == "F64":
        # A value that float32 cannot hold would turn infinite when it is used.
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.all(np.isfinite(raw.astype(np.float32))))
    if dtype == "F32":
        return bool(np.all(np.isfinite(raw)))
    return True


@cache
def _e4m3_table() -> Float32:
    """All 256 values of E4M3 (the 'fn' kind: bias 7, no infinity, NaN where all seven lower bits are set)."""
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent = (codes >> 3) & 0x0F
    mantissa = codes & 0x07
    values = np.where(
        exponent == 0,
        mantissa / 8.0 * 2.0**-6,
        (1.0 + mantissa / 8.0) * 2.0 ** (exponent - 7.0),
    )
    values = np.where((codes & 0x7F) == 0x7F, np.nan, values)
    return (sign * values).astype(np.float32)
