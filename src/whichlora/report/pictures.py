"""Puts pictures into a report's folder: originals as they are, small previews as WebP.

Names come from content, so a second report into the same folder copies nothing twice. Photographs of people are
re-encoded without their metadata (place, camera), because report folders get shared. An unreadable picture is a
reason, not a crash.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

from whichlora.errors import PhotoError
from whichlora.report.model import ReportInput

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEW_PX = 384
"""Longest side of a preview. A picture that is not larger serves as its own preview."""
SOURCE_PX = 2048
"""Longest side at which a photograph is shown; larger ones are reduced."""
SAME_SHAPE = 0.02
"""Relative difference of aspect ratio up to which a photograph may be resized to an output's size."""

_OURS = re.compile(r"^[0-9a-f]{16}(-\d+x\d+)?\.(png|webp)$")


@dataclass(frozen=True)
class Shown:
    """A picture as the page shows it. Addresses are relative to the report's folder."""

    url: str
    """The original (or the metadata-free copy of a photograph); '' when it could not be read."""
    thumb: str
    """The preview."""
    width_px: int = 0
    """Width of the original."""
    height_px: int = 0
    """Height of the original."""
    reason: str = ""
    """Why there is no picture."""
    fitted: dict[tuple[int, int], str] = field(default_factory=dict)
    """For a photograph: output size → address of the copy resized to it, as the metrics see it."""


class PictureBook:
    """Pictures of one report by content hash and by source id."""

    def __init__(self, images: dict[str, Shown], sources: dict[str, Shown], prefix: str = "") -> None:
        self._images = images
        self._sources = sources
        self._prefix = prefix

    @property
    def empty(self) -> bool:
        """True when no picture was put anywhere."""
        return not self._images and not self._sources

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence per picture that could not be read."""
        return tuple(shown.reason for shown in (*self._sources.values(), *self._images.values()) if shown.reason)

    def all_images(self) -> list[Shown]:
        """Every generated picture."""
        return list(self._images.values())

    def all_sources(self) -> list[Shown]:
        """Every source photograph."""
        return list(self._sources.values())

    def image(self, digest: str | None) -> Shown:
        """A generated picture by content hash."""
        return self._images.get(digest or "", Shown("", "", reason="no picture"))

    def source(self, name: str) -> Shown:
        """A source photograph by id."""
        return self._sources.get(name, Shown("", "", reason="no picture"))

    def address(self, relative: str) -> str:
        """Turn an address in the report's folder into one seen from the document that links it."""
        return f"{self._prefix}{relative}"

    def seen_from(self, prefix: str) -> PictureBook:
        """The same pictures, linked from a document elsewhere ('report/' when it lies beside the folder)."""
        return PictureBook(self._images, self._sources, prefix)


NO_PICTURES = PictureBook({}, {})
"""For documents that stand alone."""


def file_stem(key: str) -> str:
    """Sixteen hexadecimal digits that name a picture; never the key itself, which may be hostile."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def collect(given: ReportInput, folder: Path) -> PictureBook:
    """Copy every picture of a report into `folder`/assets and describe it.

    Args:
        given: The report's input.
        folder: The report's folder; 'assets/pictures' and 'assets/thumbs' are made inside.

    Returns:
        The pictures with addresses relative to `folder`. Unreadable ones carry a reason.
    """
    for name in ("pictures", "thumbs"):
        (folder / "assets" / name).mkdir(parents=True, exist_ok=True)
    book = described(given, folder)
    _prune(folder, [*book.all_images(), *book.all_sources()])
    return book


def described(given: ReportInput, folder: Path) -> PictureBook:
    """Describe the pictures of a report, copying only those that are not in its folder yet; removes nothing."""
    digests = sorted({made.image for made in given.generations.values() if made.image})
    with ThreadPoolExecutor(max_workers=2) as pool:  # Pillow lets go of the interpreter while it en- and decodes
        images = dict(zip(digests, pool.map(lambda d: _image(d, given.image_path, folder), digests), strict=True))
        sizes = _sizes_by_source(given, images)
        names = [source.id for source in given.plan.sources]
        put = pool.map(lambda n: _source(n, given.source_path, folder, sizes.get(n, set())), names)
        sources = dict(zip(names, put, strict=True))
    return PictureBook(images, sources)


def _sizes_by_source(given: ReportInput, images: dict[str, Shown]) -> dict[str, set[tuple[int, int]]]:
    """Sizes of the outputs made from each photograph."""
    source_of = {case.id: case.source for case in given.plan.cases}
    sizes: dict[str, set[tuple[int, int]]] = {}
    for cell in given.plan.cells:
        made = given.generations.get(cell.id)
        shown = images.get(made.image or "") if made else None
        if shown and shown.url and cell.case in source_of:
            sizes.setdefault(source_of[cell.case], set()).add((shown.width_px, shown.height_px))
    return sizes


def _image(digest: str, image_path: Callable[[str], Path], folder: Path) -> Shown:
    """Copy a generated picture byte for byte, so that its metadata (seed, settings) stays with it."""
    from PIL import Image

    stem = file_stem(digest)
    original = f"assets/pictures/{stem}.png"
    try:
        path = Path(image_path(digest))
        with Image.open(path, formats=("PNG",)) as picture:
            width, height = picture.size
            thumb = original if max(width, height) <= PREVIEW_PX else f"assets/thumbs/{stem}.webp"
            if not (_copied(path, folder / original) and (folder / thumb).exists()):
                picture.load()  # a truncated picture must not be shown as a whole one
                if thumb != original:
                    _write_preview(picture.convert("RGB"), folder / thumb)
                shutil.copyfile(path, folder / original)
    except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError) as error:
        return Shown("", "", reason=f"Picture {digest[:12]} could not be read: {_said(error)}")
    return Shown(original, thumb, width, height)


def _source(
    name: str, source_path: Callable[[str], Path], folder: Path, sizes: set[tuple[int, int]],
) -> Shown:
    """Write a photograph upright and without metadata, and once more at each output's size."""
    from PIL import Image

    from whichlora.vision.picture import open_picture

    try:
        path = Path(source_path(name))
        stem = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        picture = Image.fromarray(open_picture(path))
        full_width, full_height = picture.size
        shown = picture.copy()
        shown.thumbnail((SOURCE_PX, SOURCE_PX), Image.Resampling.LANCZOS)
        url, thumb = f"assets/pictures/{stem}.webp", f"assets/thumbs/{stem}.webp"
        if not (folder / url).exists():
            _save(shown, folder / url, "WEBP", lossless=max(shown.size) <= PREVIEW_PX, quality=92, method=3)
        if not (folder / thumb).exists():
            _write_preview(shown, folder / thumb)
        fitted = {size: _fit(picture, size, stem, folder) for size in sizes if _same_shape(picture.size, size)}
    except (OSError, ValueError, SyntaxError, KeyError, PhotoError, Image.DecompressionBombError) as error:
        return Shown("", "", reason=f"Photograph '{name}' could not be read: {_said(error)}")
    return Shown(url, thumb, full_width, full_height, fitted=fitted)


def _fit(picture: Image, size: tuple[int, int], stem: str, folder: Path) -> str:
    """Write a photograph resized to an output's size and return its address."""
    from PIL import Image

    url = f"assets/pictures/{stem}-{size[0]}x{size[1]}.png"
    if not (folder / url).exists():
        fitted = picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
        _save(fitted, folder / url, "PNG")
    return url


def _copied(path: Path, copy: Path) -> bool:
    """True when an earlier report left a whole copy; a copy that was cut short has another size."""
    return copy.exists() and copy.stat().st_size == path.stat().st_size


def _same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return abs((one[0] * other[1]) / (one[1] * other[0]) - 1) <= SAME_SHAPE


def _write_preview(picture: Image, path: Path) -> None:
    from PIL import Image

    small = picture.copy()
    small.thumbnail((PREVIEW_PX, PREVIEW_PX), Image.Resampling.LANCZOS)
    _save(small, path, "WEBP", quality=86, method=3)


def _save(picture: Image, path: Path, kind: str, **options: Any) -> None:
    """Write a picture whole or not at all; what exists is taken for whole the next time."""
    # One photograph under two names is written by two threads at once: each needs a file of its own.
    beside = path.with_name(f".{path.name}.{get_ident()}.part")
    picture.save(beside, kind, **options)
    beside.replace(path)


def _prune(folder: Path, shown: list[Shown]) -> None:
    """Remove pictures of an earlier report: somebody may have taken a person out of the project."""
    wanted = {address for one in shown for address in (one.url, one.thumb, *one.fitted.values())}
    for name in ("pictures", "thumbs"):
        for path in (folder / "assets" / name).iterdir():
            if _OURS.match(path.name) and f"assets/{name}/{path.name}" not in wanted:
                path.unlink(missing_ok=True)


def _said(error: Exception) -> str:
    """Say what went wrong without the path of somebody's machine."""
    if isinstance(error, FileNotFoundError):
        return "its file is missing."
    if isinstance(error, KeyError):
        return "the store does not know it."
    if isinstance(error, PhotoError):
        return "it is no sound PNG, JPEG or WebP file."
    return f"{type(error).__name__}."
