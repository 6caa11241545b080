"""Turning the bytes of a PNG, JPEG or WebP file into pixels; and the small program that does it behind bars.

`serve` runs in a child process (see `opener`): it is given bytes, never a path, and gives back pixels or a reason. It
can open no file and no connection, write nothing, start nothing, and has only so much memory and time: what a hostile
picture could break there is a process that holds nothing.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "WEBP")
"""The only formats that are opened."""
MIN_SIDE_PX = 32
"""Smaller pictures hold nothing to measure."""
CPU_S = 15
"""Processor seconds for one picture; 80 megapixels take about four."""
SPARE_BYTES = 256 * 1024**2
"""Memory beside the pixels themselves, for one picture."""
BYTES_PER_PX = 30
"""Most that decoding, turning and flattening need at once, with every copy."""
REQUEST = struct.Struct("<QQ")
"""Length of the file and largest accepted width × height; the file follows."""
REPLY = struct.Struct("<cIQ")
"""b'P' or b'E', length of the JSON that follows, length of the pixels after it."""


class UnfitError(Exception):
    """A picture that is refused: 'format', 'large', 'small' or 'damaged', with the words for it."""

    def __init__(self, kind: str, words: str = "") -> None:
        self.kind, self.words = kind, words
        super().__init__(kind, words)


def decode(
    data: bytes, max_pixels: int, before_pixels: Callable[[int], None] = lambda _: None
) -> tuple[NDArray[np.uint8], dict[str, str]]:
    """Pixels of a file, upright, as RGB; and its text chunks.

    Args:
        data: The whole file.
        max_pixels: Largest accepted width × height; checked before a pixel is decoded.
        before_pixels: Called with width × height before the first pixel is decoded.

    Raises:
        UnfitError: Of another format, too large, too small, or damaged.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnfitError("large", f"{width} × {height}")
            if min(width, height) < MIN_SIDE_PX:
                raise UnfitError("small", f"{width} × {height}")
            before_pixels(width * height)
            text = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
            upright = ImageOps.exif_transpose(image)
            return _flatten(upright), text
    except UnidentifiedImageError:
        raise UnfitError("format") from None
    except MemoryError:
        raise UnfitError("damaged", "it takes more memory than a picture of its size needs") from None
    except UnfitError:
        raise
    except Exception as error:  # a decoder may fail in any way on a hostile file
        raise UnfitError("damaged", str(error).splitlines()[0][:120] if str(error) else type(error).__name__) from None


def _flatten(image: Any) -> NDArray[np.uint8]:
    """RGB array of a PIL image; transparency is laid on white, 16-bit grey is scaled to 8."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        grey = np.clip(np.nan_to_num(values) / top * 255.0, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, layer)
    return np.array(image.convert("RGB"), dtype=np.uint8)


# --------------------------------------------------------------------------- the child


def serve() -> None:
    """Answer requests on standard input until it ends."""
    from PIL import Image, ImageOps, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()  # everything that decoding may want is imported before the doors close
    _warm_up()
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    sink = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # a library that prints must not talk into the answers
    limit = _Limits()
    sink.write(b"ready")
    while True:
        head = read_exactly(source, REQUEST.size)
        if head is None:
            return
        length, max_pixels = REQUEST.unpack(head)
        data = read_exactly(source, length)
        if data is None:
            return
        limit.begin(length)
        _answer(sink, bytes(data), max_pixels, limit)
        limit.end()


def _answer(sink: BinaryIO, data: bytes, max_pixels: int, limit: _Limits) -> None:
    try:
        picture, text = decode(data, max_pixels, limit.before_pixels)
        body = json.dumps({"height": picture.shape[0], "width": picture.shape[1], "text": text}).encode()
        write_all(sink, REPLY.pack(b"P", len(body), picture.nbytes) + body)
        write_all(sink, np.ascontiguousarray(picture).reshape(-1).data)
    except (UnfitError, MemoryError) as error:
        kind, words = ("damaged", "it takes too much memory")
        if isinstance(error, UnfitError):
            kind, words = error.kind, error.words
        body = json.dumps({"kind": kind, "words": words}).encode()
        write_all(sink, REPLY.pack(b"E", len(body), 0) + body)


def _warm_up() -> None:
    """Decode one picture of every format, so that nothing is imported later."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in FORMATS:
        buffer = io.BytesIO()
        Image.new("RGBA" if kind != "JPEG" else "RGB", (32, 32)).save(buffer, kind, exif=exif)
        decode(buffer.getvalue(), 10_000)


class _Limits:
    """Limits of the operating system, where it has them (Linux, macOS); elsewhere only the parent's clock counts."""

    def __init__(self) -> None:
        try:
            import resource
        except ImportError:
            self._resource: Any = None
            return
        self._resource = resource
        self._base = _address_space()
        for name, value in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_NOFILE", 0)):
            with suppress(AttributeError, ValueError, OSError):
                resource.setrlimit(getattr(resource, name), (value, value))

    def begin(self, file_bytes: int) -> None:
        """Before a file is looked at."""
        self._memory(file_bytes + SPARE_BYTES)
        if self._resource is not None:
            used = self._resource.getrusage(self._resource.RUSAGE_SELF)
            self._set("RLIMIT_CPU", int(used.ru_utime + used.ru_stime) + 1 + CPU_S)

    def before_pixels(self, pixels: int) -> None:
        """The size is known and accepted: as much memory as a picture of that size may need."""
        self._memory(2 * SPARE_BYTES + BYTES_PER_PX * pixels)

    def end(self) -> None:
        """Between two pictures."""
        if self._resource is not None:
            self._set("RLIMIT_AS", self._resource.RLIM_INFINITY)

    def _memory(self, count: int) -> None:
        if self._resource is not None and self._base:
            self._set("RLIMIT_AS", self._base + count)

    def _set(self, name: str, value: int) -> None:
        kind = getattr(self._resource, name, None)
        if kind is not None:
            with suppress(ValueError, OSError):
                self._resource.setrlimit(kind, (value, self._resource.getrlimit(kind)[1]))


def _address_space() -> int:
    """Bytes of address space in use; 0 where it cannot be told (no memory limit is set then)."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def read_exactly(source: BinaryIO, count: int) -> bytearray | None:
    """So many bytes of a pipe; None when it ended before."""
    data = bytearray(count)
    view, have = memoryview(data), 0
    while have < count:
        got = source.readinto(view[have:])  # type: ignore[attr-defined]
        if not got:
            return None
        have += got
    return data


def write_all(sink: BinaryIO, data: bytes | memoryview) -> None:
    """Write everything to a pipe."""
    view = memoryview(data).cast("B")
    while len(view):
        view = view[sink.write(view) :]


if __name__ == "__main__":
    sys.exit(serve())
