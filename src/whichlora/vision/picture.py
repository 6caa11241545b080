"""Opening, resizing and remembering pictures. Does not write any.

A `Picture` is RGB uint8, height × width × 3. Files come from the internet and are hostile: only three formats are
opened, the size is checked before a pixel is decoded, and decoding happens in a limited child process.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import PhotoError
from whichlora.vision.decoder import FORMATS, MIN_SIDE_PX, UnfitError

__all__ = [
    "FORMATS", "MAX_PIXELS", "MIN_SIDE_PX", "Picture", "digest", "frozen", "open_picture", "open_with_text",
    "remembered", "resized",
]

Picture = NDArray[np.uint8]
"""RGB, height × width × 3, 0–255."""

MAX_PIXELS = 80_000_000
"""Larger pictures are refused before decoding (a 100 kB file can claim gigabytes)."""
MAX_FILE_BYTES = 300_000_000
"""Larger files are not even read."""

T = TypeVar("T")
_digests: dict[int, tuple[weakref.ref[Any], bytes]] = {}
_lock = threading.RLock()


def open_picture(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a photograph as RGB, upright.

    Args:
        path: PNG, JPEG or WebP file.
        max_pixels: Largest accepted width × height.

    Raises:
        PhotoError: Missing, unreadable, of another format, too large or too small; the message names the path.
    """
    return open_with_text(path, max_pixels=max_pixels)[0]


def open_with_text(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> tuple[Picture, dict[str, str]]:
    """Read a picture and its text chunks (PNG `tEXt`/`iTXt`, such as 'parameters'); see `open_picture`.

    The file is decoded in a child process with limited memory and time that can open nothing itself (see `opener`).
    """
    from whichlora.vision.opener import OPENER

    path = Path(path)
    if not path.is_file():
        raise PhotoError(f"There is no picture at '{path}'.", fix="Check the path; a folder is not a picture.")
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise PhotoError(
                f"'{path}' is {size / 1e6:.0f} MB, more than the {MAX_FILE_BYTES / 1e6:.0f} MB that are read.",
                fix="Save it as JPEG, or scale it down; 1–4 megapixels are plenty.",
            )
        return OPENER.decode(path.read_bytes(), max_pixels)
    except OSError as error:
        raise PhotoError(f"'{path}' cannot be read: {error.strerror or error}.",
                         fix="Check your rights to it.") from None
    except UnfitError as error:
        raise _refusal(path, error, max_pixels) from None


def _refusal(path: Path, error: UnfitError, max_pixels: int) -> PhotoError:
    """A sentence for a picture that was refused."""
    if error.kind == "format":
        return PhotoError(
            f"'{path}' is not a PNG, JPEG or WebP picture.", fix="Save it as PNG or JPEG and try again.",
        )
    if error.kind == "large":
        return PhotoError(
            f"'{path}' is {error.words} pixels, more than the {max_pixels / 1e6:.0f} megapixels that are read.",
            fix="Scale it down; 1–4 megapixels are plenty.",
        )
    if error.kind == "small":
        return PhotoError(f"'{path}' is only {error.words} pixels.",
                          fix=f"Use a picture of at least {MIN_SIDE_PX} pixels.")
    return PhotoError(
        f"'{path}' cannot be read: {error.words}.", fix="The file looks damaged; export it anew from its original.",
    )


def resized(picture: Picture, height: int, width: int) -> Picture:
    """The picture at another size (area averaging when it shrinks, Lanczos when it grows)."""
    import cv2

    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(picture, (width, height), interpolation=mode), dtype=np.uint8)


def digest(picture: Picture) -> bytes:
    """16-byte content hash. Read-only arrays are hashed once per object; writable ones every time."""
    if picture.flags.writeable:
        return _hash(picture)
    with _lock:
        known = _digests.get(id(picture))
        if known is not None and known[0]() is picture:
            return known[1]
    value = _hash(picture)
    key = id(picture)
    with _lock:
        _digests[key] = (weakref.ref(picture, lambda _: _digests.pop(key, None)), value)
    return value


def _hash(picture: Picture) -> bytes:
    state = hashlib.blake2b(repr((picture.shape, picture.dtype.str)).encode(), digest_size=16)
    state.update(np.ascontiguousarray(picture).data)
    return state.digest()


def frozen(picture: Picture) -> Picture:
    """A read-only copy (or the same array if it is read-only and owns its data): hashed once, never changed."""
    if not picture.flags.writeable and picture.base is None:
        return picture
    copy = np.array(picture, copy=True, order="C")
    copy.setflags(write=False)
    return copy


def remembered(size: int = 64) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorator: remember the last `size` results of a pure function of pictures and hashable settings.

    Several metrics ask the same of the same picture (its faces, its alignment); the work is done once.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        results: OrderedDict[Hashable, T] = OrderedDict()

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> T:
            key = (*(_key(arg) for arg in args), *((name, _key(arg)) for name, arg in sorted(kwargs.items())))
            with _lock:
                if key in results:
                    results.move_to_end(key)
                    return results[key]
            value = function(*args, **kwargs)
            with _lock:
                results[key] = value
                while len(results) > size:
                    results.popitem(last=False)
            return value

        call.forget = results.clear  # type: ignore[attr-defined]
        return call

    return decorate


def _key(value: Any) -> Hashable:
    return digest(value) if isinstance(value, np.ndarray) else value
