"""From cells and photographs to addresses and bytes. A picture is reachable by an id that this session was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from whichlora.errors import WhichloraError
from whichlora.review.blinding import THUMB_PX, Encoder, Showing, Veil
from whichlora.store import Store
from whichlora.types import Generation, Plan
from whichlora.vision.picture import FORMATS

SAME_SHAPE = 0.02
"""Relative difference of aspect ratio up to which a photograph is shown resized to an output's size."""


class Pictures:
    """Files behind the pages of one project."""

    def __init__(self, store: Store, plan: Plan, folder: Path) -> None:
        self._images = store.images
        self._sources = {item.id: (folder / item.path, item.width_px, item.height_px) for item in plan.sources}
        self._sizes: dict[str, tuple[int, int]] = {}
        self.encoder = Encoder()

    def size(self, image: str) -> tuple[int, int]:
        """(width, height) of a generated picture, from its header; (0, 0) when it cannot be read."""
        known = self._sizes.get(image)
        if known is None:
            try:
                with Image.open(self._images.path(image), formats=FORMATS) as opened:
                    known = opened.size
            except (OSError, ValueError, Image.DecompressionBombError, WhichloraError):
                known = (0, 0)
            self._sizes[image] = known
        return known

    def generated(self, veil: Veil, made: Generation, *, blind: bool) -> dict[str, Any]:
        """A generated picture at full size as pages take it: url, w, h."""
        assert made.image is not None
        width, height = self.size(made.image)
        showing = Showing(self._images.path(made.image))
        key = veil.fresh(showing) if blind else veil.steady(showing)
        return {"url": f"/image/{key}", "w": width, "h": height}

    def thumb(self, veil: Veil, made: Generation) -> str:
        """Address of a preview."""
        assert made.image is not None
        return f"/image/{veil.steady(Showing(self._images.path(made.image), THUMB_PX))}"

    def source(self, veil: Veil, name: str, like: tuple[int, int], *, blind: bool) -> dict[str, Any]:
        """The photograph, resized to an output's size where its shape allows, as the metrics saw it."""
        if name not in self._sources:
            return {"url": "", "w": 0, "h": 0, "resized": False}
        path, width, height = self._sources[name]
        size: tuple[int, int] | None = None
        if min(*like, width, height) > 0:
            if abs(like[0] / like[1] / (width / height) - 1) <= SAME_SHAPE:
                size = like
            elif max(width, height) > 2048:
                scale = 2048 / max(width, height)
                size = (max(1, round(width * scale)), max(1, round(height * scale)))
        showing = Showing(path, size=size)
        key = veil.fresh(showing) if blind else veil.steady(showing)
        shown = size or (width, height)
        return {"url": f"/image/{key}", "w": shown[0], "h": shown[1], "resized": shown != (width, height)}
