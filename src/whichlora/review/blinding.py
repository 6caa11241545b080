"""Pictures without a name: opaque ids, and pixels encoded anew so that no file name, hash or metadata is left.

An id is random and known to one session only; blind pages get a fresh one for every showing, so that it cannot be
compared with what another page showed.
"""

from __future__ import annotations

import io
import re
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from whichlora.vision.picture import open_picture, resized

PICTURE_ID = re.compile(r"[A-Za-z0-9_-]{22}")
THUMB_PX = 240
"""Longest side of a preview."""
_CACHED_BYTES = 96 * 1024 * 1024


@dataclass(frozen=True)
class Showing:
    """What an id stands for."""

    path: Path
    """File."""
    longest_px: int = 0
    """Longest side to which it is reduced; 0: as it is."""
    size: tuple[int, int] | None = None
    """(width, height) to which it is resized, as the model and the metrics saw a photograph; None: its own."""

    @property
    def media_type(self) -> str:
        """What the bytes are."""
        return "image/webp" if self.longest_px else "image/png"


class Veil:
    """Ids of one session. Safe for several threads."""

    def __init__(self) -> None:
        self._by_id: dict[str, Showing] = {}
        self._known: dict[Showing, str] = {}
        self._lock = threading.Lock()

    def fresh(self, showing: Showing) -> str:
        """A new id, never given before."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._by_id[key] = showing
        return key

    def steady(self, showing: Showing) -> str:
        """The same id each time, so that the browser can keep what it loaded. Not for blind pages."""
        with self._lock:
            known = self._known.get(showing)
        if known is None:
            known = self.fresh(showing)
            with self._lock:
                self._known[showing] = known
        return known

    def find(self, key: str) -> Showing | None:
        """What an id stands for, or None."""
        return self._by_id.get(key) if PICTURE_ID.fullmatch(key) else None


class Encoder:
    """Encodes pictures anew, without any metadata; remembers the last ones by size."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Showing, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def encode(self, showing: Showing) -> bytes:
        """PNG of the pixels (WebP for previews).

        Raises:
            PhotoError: The file is missing or no picture.
        """
        with self._lock:
            data = self._kept.get(showing)
            if data is not None:
                self._kept.move_to_end(showing)
                return data
        data = encode_bare(showing)
        with self._lock:
            if showing not in self._kept:
                self._kept[showing] = data
                self._bytes += len(data)
            while self._bytes > _CACHED_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return data


def encode_bare(showing: Showing) -> bytes:
    """Encode pixels and nothing else: previews as WebP, everything larger losslessly as PNG."""
    pixels = open_picture(showing.path)
    if showing.size is not None:
        pixels = resized(pixels, showing.size[1], showing.size[0])
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    if showing.longest_px:
        image.thumbnail((showing.longest_px, showing.longest_px))
        image.save(out, "WEBP", quality=82, method=2)
    else:
        image.save(out, "PNG", compress_level=1)
    return out.getvalue()
