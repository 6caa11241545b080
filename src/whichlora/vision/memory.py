"""Remembering what was worked out of a picture, by its content. Opens no file.

Several metrics ask the same of the same picture (its faces, its alignment), so the last results of every function are
kept. A picture that comes again with every candidate, a source photograph, is declared `lasting`: what was worked out
of it alone is kept for the whole run, within a budget of bytes, however many outputs come in between.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""RGB, height × width × 3, 0–255."""

LASTING_BYTES = 512 * 1024**2
"""Memory for results of lasting pictures; the ones unused for longest go first."""
LASTING_PICTURES = 1024
T = TypeVar("T")
_digests: dict[int, tuple[weakref.ref[Any], bytes]] = {}
_lasting: OrderedDict[bytes, None] = OrderedDict()
_lock = threading.RLock()


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


def lasting(picture: Picture) -> Picture:
    """The picture, read-only, as one that will come again: what is worked out of it alone is kept for longer."""
    picture = frozen(picture)
    name = digest(picture)
    with _lock:
        _lasting[name] = None
        _lasting.move_to_end(name)
        while len(_lasting) > LASTING_PICTURES:
            _lasting.popitem(last=False)
    return picture


class _Kept:
    """Results of lasting pictures, of all functions together, bounded by their bytes."""

    def __init__(self) -> None:
        self._results: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> tuple[Any, int] | None:
        found = self._results.get(key)
        if found is not None:
            self._results.move_to_end(key)
        return found

    def put(self, key: Hashable, value: Any) -> None:
        size = _size(value)
        old = self._results.pop(key, None)
        self._results[key] = (value, size)
        self._bytes += size - (old[1] if old else 0)
        while self._bytes > LASTING_BYTES and len(self._results) > 1:
            self._bytes -= self._results.popitem(last=False)[1][1]

    def clear(self) -> None:
        self._results.clear()
        self._bytes = 0


_kept = _Kept()


def remembered(size: int = 64) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorator: remember the last `size` results of a pure function of pictures and hashable settings.

    Results of lasting pictures alone are kept beside these, see `lasting`. The function's `forget` drops both.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        results: OrderedDict[Hashable, T] = OrderedDict()

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> T:
            key = (*(_key(arg) for arg in args), *((name, _key(arg)) for name, arg in sorted(kwargs.items())))
            pictures = [part for arg, part in zip(args, key, strict=False) if isinstance(arg, np.ndarray)]
            with _lock:
                long = bool(pictures) and all(part in _lasting for part in pictures)
                kept = _kept.get((function, key)) if long else None
                if kept is not None:
                    return kept[0]
                if key in results:
                    results.move_to_end(key)
                    if long:  # worked out before the picture was declared
                        _kept.put((function, key), results[key])
                    return results[key]
            value = function(*args, **kwargs)
            with _lock:
                if long:
                    _kept.put((function, key), value)
                    return value
                results[key] = value
                while len(results) > size:
                    results.popitem(last=False)
            return value

        def forget() -> None:
            with _lock:
                results.clear()
                _kept.clear()

        call.forget = forget  # type: ignore[attr-defined]
        return call

    return decorate


def _key(value: Any) -> Hashable:
    return digest(value) if isinstance(value, np.ndarray) else value


def _size(value: Any) -> int:
    """Bytes of the arrays in a result, and a little for the rest."""
    if isinstance(value, np.ndarray):
        return value.nbytes + 128
    if isinstance(value, (tuple, list)):
        return 64 + sum(_size(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return 64 + sum(_size(getattr(value, item.name)) for item in fields(value))
    return 64
