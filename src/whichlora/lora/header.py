"""Read the header of a safetensors file, and single tensors, without trusting the file.

The whole header is checked before any tensor is looked at: size, JSON, names, shapes, offsets. `parse_header` is pure,
so the same checks serve a local file and the first bytes of a remote one. Nothing here knows what a LoRA is, and
nothing here can execute what a file holds.
"""

from __future__ import annotations

import json
import mmap
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError, UserError
from whichlora.lora import dtypes
from whichlora.lora.dtypes import Float32

MAX_HEADER_BYTES = 4 * 1024 * 1024
"""Largest header that is parsed; a full LoRA of the 20 B model needs about 0.4 MB."""
MAX_ENTRIES = 20_000
"""Most tensors a file may hold; a full LoRA of the 20 B model has about 2,600."""
MAX_NAME_CHARS = 512
MAX_DIMENSIONS = 8
_PREFIX_BYTES = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor as the header declares it."""

    name: str
    """Key in the file."""
    dtype: str
    """Number format, such as 'BF16'."""
    shape: tuple[int, ...]
    """Dimensions; () for a single number."""
    begin: int
    """First byte, counted from the start of the data section."""
    end: int
    """One past the last byte."""

    @property
    def count(self) -> int:
        """Number of values."""
        product = 1
        for size in self.shape:
            product *= size
        return product


@dataclass(frozen=True, slots=True)
class Header:
    """A safetensors header that passed every check."""

    entries: Mapping[str, Entry]
    """Tensors by name, in the order of the file's JSON."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The header's own '__metadata__'."""
    header_bytes: int = 0
    """Bytes before the data section: 8 for the length, then the JSON."""
    file_bytes: int = 0
    """Size of the whole file."""


def header_length(first: bytes) -> int:
    """Bytes that must be at hand before `parse_header` can work, read from a file's first bytes.

    Args:
        first: At least the first 8 bytes.

    Returns:
        Length of prefix and JSON together, at most 4 MB + 8.

    Raises:
        RefusedError: It is no safetensors file, or its header is too large.
    """
    _refuse_disguise(first)
    if len(first) < _PREFIX_BYTES:
        raise RefusedError(f"The file is only {len(first)} bytes long and cannot be a safetensors file.")
    length = int.from_bytes(first[:_PREFIX_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        if len(first) > _PREFIX_BYTES and first[_PREFIX_BYTES : _PREFIX_BYTES + 1] != b"{":
            raise RefusedError("It is not a safetensors file: it does not begin with a safetensors header.")
        raise RefusedError(
            f"Its header claims {length:,} bytes; more than {MAX_HEADER_BYTES:,} is refused "
            "(a LoRA needs well below 1 MB)."
        )
    if length < 2:
        raise RefusedError(f"It is not a safetensors file: its header claims {length} bytes.")
    return _PREFIX_BYTES + length


def parse_header(first: bytes, total_size: int) -> Header:
    """Parse and check a header.

    Args:
        first: The file's first bytes, at least `header_length(first)` of them.
        total_size: Size of the whole file in bytes.

    Returns:
        The header, with every declared tensor inside the file, gapless and not overlapping.

    Raises:
        RefusedError: Anything about it is wrong; the reason says what.
    """
    needed = header_length(first)
    if total_size < needed:
        raise RefusedError(f"The file is truncated: its header needs {needed:,} bytes, it has {total_size:,}.")
    if len(first) < needed:
        raise RefusedError(f"The header is incomplete: {needed:,} bytes are needed, {len(first):,} were read.")
    document = _load_json(first[_PREFIX_BYTES:needed])
    metadata = _metadata(document.pop("__metadata__", None))
    if len(document) > MAX_ENTRIES:
        raise RefusedError(f"It declares {len(document):,} tensors; more than {MAX_ENTRIES:,} is refused.")
    entries = {name: _entry(name, value) for name, value in document.items()}
    _check_offsets(entries, total_size - needed)
    return Header(entries, metadata, needed, total_size)


def read_header(path: str | Path) -> Header:
    """Read and check the header of a local file; reads no tensor.

    Raises:
        UserError: There is no such file.
        RefusedError: It is no sound safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file '{printable(str(path))}'.",
                        fix="Check the path; a file on the Hub is named OWNER/NAME:FILE.")
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            # Enough to recognise what a file really is; most headers need one more read.
            first = stream.read(512)
            if not first:
                raise RefusedError("The file is empty.")
            first += stream.read(max(0, header_length(first) - len(first)))
    except OSError as error:
        raise UserError(f"The file '{printable(str(path))}' cannot be read: {error.strerror}.") from error
    return parse_header(first, size)


class TensorFile:
    """Lazy, read-only access to the tensors of a checked file; pages are loaded only when touched.

    Use as a context manager, or call `close`. `bytes_read` counts what was handed out.
    """

    def __init__(self, path: str | Path, header: Header | None = None) -> None:
        self.path = Path(path)
        self.header = header or read_header(self.path)
        self.bytes_read = self.header.header_bytes
        with self.path.open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._map) < self.header.file_bytes:
            self._map.close()
            raise RefusedError("The file became shorter while it was read.")

    def raw(self, entry: Entry) -> NDArray[Any]:
        """Raw bits of a tensor, as a read-only view of the mapped file (see `dtypes.storage`)."""
        start = self.header.header_bytes + entry.begin
        if entry.count == 0:
            return np.zeros(entry.shape, dtypes.storage(entry.dtype))
        self.bytes_read += entry.end - entry.begin
        flat = np.frombuffer(self._map, dtype=dtypes.storage(entry.dtype), count=entry.count, offset=start)
        return flat.reshape(entry.shape)

    def read(self, entry: Entry) -> Float32:
        """A tensor as a new float32 array."""
        return np.ascontiguousarray(dtypes.decode(self.raw(entry), entry.dtype))

    def close(self) -> None:
        """Release the file. Views handed out by `raw` keep it open until they are gone."""
        try:
            self._map.close()
        except BufferError:
            # A view is still alive; the map goes with it.
            return

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()


def read_tensor(path: str | Path, entry: Entry, header: Header | None = None) -> Float32:
    """Read one tensor as float32, with one seek and one read."""
    header = header or read_header(path)
    with Path(path).open("rb") as stream:
        stream.seek(header.header_bytes + entry.begin)
        data = stream.read(entry.end - entry.begin)
    if len(data) != entry.end - entry.begin:
        raise RefusedError(f"The file became shorter while '{printable(entry.name)}' was read.")
    raw = np.frombuffer(data, dtypes.storage(entry.dtype)).reshape(entry.shape)
    return np.ascontiguousarray(dtypes.decode(raw, entry.dtype))


def printable(text: str, limit: int = 120) -> str:
    """Make a foreign name safe to show: control and direction characters replaced, long ones cut."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return shown if shown.isprintable() else "".join(char if char.isprintable() else "�" for char in shown)


# --------------------------------------------------------------------------- the checks


def _refuse_disguise(first: bytes) -> None:
    """Recognise what people download by mistake, and say so."""
    if len(first) >= _PREFIX_BYTES and int.from_bytes(first[:_PREFIX_BYTES], "little") <= MAX_HEADER_BYTES:
        # A believable header length can by chance begin with the bytes of another format, such as '{'.
        return
    text = first[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise RefusedError(
            "It is a web page, not a safetensors file: the download was answered with a page.",
            fix="Download it again, signed in if the model is gated.",
        )
    if text.startswith(b"version https://git-lfs.github.com/spec"):
        raise RefusedError(
            "It is a git-LFS pointer, not the file itself.", fix="Run 'git lfs pull', or fetch it from the Hub.",
        )
    if first.startswith(b"PK\x03\x04"):
        raise RefusedError(
            "It is a zip archive (perhaps a pickle checkpoint of torch), not a safetensors file; pickles can run "
            "code and are never opened.",
        )
    if first[:1] == b"\x80" and first[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise RefusedError("It is a Python pickle, not a safetensors file; pickles can run code and are never opened.")
    if first.startswith(b"GGUF"):
        raise RefusedError("It is a GGUF model, not a safetensors LoRA.")
    if first.startswith((b"\x89PNG", b"\xff\xd8\xff", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"%PDF")):
        raise RefusedError("It is a picture, archive or document, not a safetensors file.")
    if text.startswith((b"{", b"[")):
        raise RefusedError("It is a text file (JSON, perhaps an error message of the server), not a safetensors file.")


def _load_json(raw: bytes) -> dict[str, Any]:
    """Parse the header's JSON strictly: one object, no duplicate keys, no NaN."""
    if raw[:1] != b"{":
        raise RefusedError("It is not a safetensors file: its header is not a JSON object.")
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RefusedError:
        raise
    except UnicodeDecodeError as error:
        raise RefusedError("Its header is not valid UTF-8 text.") from error
    except RecursionError as error:
        raise RefusedError("Its header's JSON is nested absurdly deep.") from error
    except ValueError as error:
        raise RefusedError("Its header is not valid JSON.") from error
    if not isinstance(document, dict):
        raise RefusedError("Its header is not a JSON object.")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RefusedError(f"Its header names '{printable(key)}' twice (duplicate key).")
            seen.add(key)
    return found


def _no_constant(name: str) -> Any:
    raise RefusedError(f"Its header is not valid JSON: it holds {name}.")


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise RefusedError("Its header metadata is not a table of texts.")
    return value


def _entry(name: str, value: Any) -> Entry:
    """Check one tensor's declaration."""
    _check_name(name)
    shown = printable(name)
    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= value.keys():
        raise RefusedError(f"The declaration of '{shown}' lacks dtype, shape or data_offsets.")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in dtypes.KNOWN:
        raise RefusedError(f"'{shown}' has the number format {printable(str(dtype), 40)}, which is not known.")
    if not _whole_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise RefusedError(f"The shape of '{shown}' is not a short list of non-negative whole numbers.")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise RefusedError(f"The data offsets of '{shown}' are not two non-negative whole numbers.")
    entry = Entry(name, dtype, tuple(shape), offsets[0], offsets[1])
    if entry.end < entry.begin:
        raise RefusedError(f"The data offsets of '{shown}' end before they begin.")
    if entry.count * dtypes.item_bytes(dtype) != entry.end - entry.begin:
        raise RefusedError(
            f"'{shown}' declares {printable(str(list(shape)), 60)} values of {dtype}, which is not the size of its "
            "data offsets."
        )
    return entry


def _check_name(name: str) -> None:
    if not name or len(name) > MAX_NAME_CHARS:
        raise RefusedError(f"A tensor's name is empty or longer than {MAX_NAME_CHARS} characters.")
    if name.isascii() and name.isprintable():
        return
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise RefusedError(f"The tensor name '{printable(name)}' holds control characters or broken Unicode.")
    if unicodedata.normalize("NFC", name) != name:
        raise RefusedError(f"The tensor name '{printable(name)}' is not in normal form (Unicode NFC).")


def _whole_numbers(value: Any) -> bool:
    """Whether it is a list of non-negative integers below 2^63; True and 1.0 are no integers here."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _check_offsets(entries: Mapping[str, Entry], data_bytes: int) -> None:
    """Tensors must fill the data section without gap or overlap, and the data section the file."""
    position = 0
    for entry in sorted(entries.values(), key=lambda item: (item.begin, item.end)):
        if entry.end > data_bytes:
            raise RefusedError(
                f"The file is truncated: '{printable(entry.name)}' ends at byte {entry.end:,} of the data, which has "
                f"{data_bytes:,}."
            )
        if entry.begin < position:
            raise RefusedError(f"The data of '{printable(entry.name)}' overlap another tensor's.")
        if entry.begin > position:
            raise RefusedError(f"There is a gap of undeclared data before '{printable(entry.name)}'.")
        position = entry.end
    if position != data_bytes:
        raise RefusedError(f"The file has {data_bytes - position:,} bytes after its last tensor that nothing declares.")
