"""Opening and resizing pictures. Does not write any; `memory` remembers what was worked out of them.

A `Picture` is RGB uint8, height × width × 3. Files come from the internet and are hostile: only three formats are
opened, the size is checked before a pixel is decoded, and decoding happens in a limited child process.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whichlora.errors import PhotoError
from whichlora.vision.decoder import FORMATS, MIN_SIDE_PX, UnfitError
from whichlora.vision.memory import Picture, digest, frozen, lasting, remembered

__all__ = [
    "FORMATS", "MAX_PIXELS", "MIN_SIDE_PX", "Picture", "digest", "frozen", "lasting", "open_picture", "open_with_text",
    "remembered", "resized",
]

MAX_PIXELS = 80_000_000
"""Larger pictures are refused before decoding (a 100 kB file can claim gigabytes)."""
MAX_FILE_BYTES = 300_000_000
"""Larger files are not even read."""


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
