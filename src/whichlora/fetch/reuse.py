"""What of the wanted files is on this disk already: by size first, then by hash, never by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whichlora.fetch.cache import blob_path, snapshot_path
from whichlora.fetch.digests import DigestBook, git_sha1_of
from whichlora.fetch.wanted import Wanted
from whichlora.survey.places import FoundFile


@dataclass(frozen=True, slots=True)
class Item:
    """A wanted file and where it stands."""

    wanted: Wanted
    """What is needed."""
    path: Path | None
    """Where it lies, verified by hash; None when it must be fetched."""
    where: str
    """'Hub cache', 'ComfyUI', 'folder', or '' when it is not here."""
    partial_bytes: int = 0
    """Bytes of an earlier, cut download."""

    @property
    def missing_bytes(self) -> int:
        """Bytes still to be fetched."""
        return 0 if self.path is not None else self.wanted.size_bytes - self.partial_bytes


def look_up(
    wanted: Sequence[Wanted], found: Iterable[FoundFile], cache: Path, book: DigestBook,
    tell: Callable[[str], None] | None = None,
) -> list[Item]:
    """Match wanted files with files on disk by content.

    A cached file of the right size but the wrong content is not reused: the Hub's client checks sizes only.

    Args:
        wanted: What is needed.
        found: Weight files of ComfyUI and the Hub's cache.
        cache: The Hub's cache folder.
        book: Remembered digests.
        tell: Told which large file is being hashed.
    """
    by_size: dict[int, list[FoundFile]] = {}
    for file in found:
        by_size.setdefault(file.size_bytes, []).append(file)
    items: list[Item] = []
    for each in wanted:
        path, where = _in_cache(each, cache, book, tell)
        if path is None and each.sha256 is not None:
            path, where = _elsewhere(each, by_size.get(each.size_bytes, ()), book, tell)
        items.append(Item(each, path, where, 0 if path is not None else _partial(each, cache)))
    book.save()
    return items


def _in_cache(
    wanted: Wanted, cache: Path, book: DigestBook, tell: Callable[[str], None] | None
) -> tuple[Path | None, str]:
    path = snapshot_path(cache, wanted.repo_id, wanted.commit, wanted.file)
    if path.is_file() and path.stat().st_size == wanted.size_bytes and _same(path, wanted, book, tell):
        return path, "Hub cache"
    return None, ""


def _elsewhere(
    wanted: Wanted, files: Iterable[FoundFile], book: DigestBook, tell: Callable[[str], None] | None
) -> tuple[Path | None, str]:
    for file in files:
        if file.sha256 is not None and file.sha256 != wanted.sha256:
            continue  # a cached file that claims to be another one
        try:
            if _same(file.path, wanted, book, tell):
                return file.path, file.place
        except OSError:
            continue
    return None, ""


def _same(path: Path, wanted: Wanted, book: DigestBook, tell: Callable[[str], None] | None) -> bool:
    if wanted.sha256 is None:
        return git_sha1_of(path) == wanted.git_sha1
    if tell is not None and wanted.size_bytes > 1_000_000_000:
        tell(f"Checking {path.name} ({wanted.size_bytes / 1e9:.1f} GB) …")
    return book.sha256(path) == wanted.sha256


def _partial(wanted: Wanted, cache: Path) -> int:
    part = partial_path(cache, wanted)
    try:
        size = part.stat().st_size
    except OSError:
        return 0
    return size if size <= wanted.size_bytes else 0


def partial_path(cache: Path, wanted: Wanted) -> Path:
    """Where a cut download waits: beside its blob, under the name that the Hub's older clients resume from, too."""
    blob = blob_path(cache, wanted.repo_id, wanted.key)
    return blob.with_name(blob.name + ".incomplete")
