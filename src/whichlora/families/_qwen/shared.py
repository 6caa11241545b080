"""One copy of the blocks in host memory for all workers of a machine, instead of one each.

The parent of the workers makes an anonymous file in memory (Linux's memfd) and hands its descriptor down. Whichever
worker comes to a block first writes it, the others find it written. The file has no name, so nothing is left behind
however the processes end, and its locks die with their holders: a block that a killed worker left half-written is
written again. Every worker page-locks the same pages for its own device.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from whichlora.company import SHARED_NAME, SHARED_VARIABLE

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from torch import Tensor

_PAGE = 4096
_FLAGS = 64
"""The header: what the file holds (SHA-256), and from here on one byte a block that says whether it is whole."""
_LOCKED: list[mmap.mmap] = []
"""Mappings known to CUDA. They stay until the process ends, and CUDA's driver lets go of them with it: were one
unmapped earlier, other memory could come to lie at addresses that CUDA takes for locked, and copies would bring wrong
values."""


def offered(environment: Mapping[str, str] = os.environ) -> int | None:
    """Descriptor of the file that the parent handed down; None without one."""
    text = environment.get(SHARED_VARIABLE, "")
    if not (text.isdecimal() and sys.platform == "linux"):
        return None
    try:
        # A number that came from elsewhere may be any file of this process.
        return int(text) if SHARED_NAME in str(Path(f"/proc/self/fd/{text}").readlink()) else None
    except OSError:
        return None


def bytes_there(file: int) -> int:
    """Bytes of the file that memory holds already."""
    return os.fstat(file).st_blocks * 512


class SharedBlocks:
    """The blocks of one model in the shared file."""

    def __init__(self, file: int, key: str, blocks: int, sizes: Sequence[int], dtype: Any) -> None:
        """Join the others.

        Args:
            file: Descriptor of the shared file.
            key: What the blocks are; workers that disagree share nothing.
            blocks: Number of blocks.
            sizes: Elements of each buffer of a block.
            dtype: Their format.

        Raises:
            ValueError: The file holds something else.
        """
        self._file, self._sizes, self._dtype = file, tuple(sizes), dtype
        self._item = torch.empty((), dtype=dtype).element_size()
        steps = [-(-size * self._item // _PAGE) * _PAGE for size in sizes]
        self._start = -(-(_FLAGS + blocks) // _PAGE) * _PAGE
        self._offsets = [sum(steps[:which]) for which in range(len(steps))]
        self._stride = sum(steps)
        length = self._start + blocks * self._stride
        wanted = hashlib.sha256(f"{key}|{blocks}|{self._sizes}|{dtype}".encode()).digest()
        with self._locked(0):
            # Nothing but zeros: whoever made it that long was killed before it said what the file is to hold.
            if os.pread(file, 32, 0) in (b"", bytes(32)):
                os.ftruncate(file, length)
                os.pwrite(file, wanted, 0)
            found = os.pread(file, 32, 0)
        if found != wanted or os.fstat(file).st_size != length:
            raise ValueError("the shared file holds another model")
        self._map = mmap.mmap(file, length)

    def flats(self, index: int) -> list[Tensor]:
        """The buffers of a block."""
        begin = self._start + index * self._stride
        return [torch.frombuffer(self._map, dtype=self._dtype, count=size, offset=begin + offset)
                for size, offset in zip(self._sizes, self._offsets, strict=True)]

    @contextmanager
    def turn(self, index: int) -> Generator[bool]:
        """Hold a block alone: True when it is to be written now. It counts as written when the context ends well."""
        with self._locked(1 + index):
            empty = self._map[_FLAGS + index] == 0
            yield empty
            self._map[_FLAGS + index] = 1

    def page_lock(self) -> str:
        """Let CUDA lock the pages, so that copies run beside the arithmetic.

        Flag 0 (cudaHostRegisterDefault): with unified addressing, which every 64-bit Linux has, the pages count as
        locked in every context. The mapping begins and ends at a page, more than the call asks for.

        Returns:
            '' when they are locked, else why not: copies are then slower and bring the same bits.
        """
        whole = torch.frombuffer(self._map, dtype=torch.uint8)
        try:
            runtime: Any = torch.cuda.cudart()
            code = int(runtime.cudaHostRegister(whole.data_ptr(), whole.numel(), 0))
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        if code == 0:
            _LOCKED.append(self._map)
            return ""
        with suppress(RuntimeError, AssertionError):
            # The refusal stays behind as CUDA's last error, and the next kernel would be blamed for it: this one.
            torch.empty(1, device="cuda").add_(1)
        return f"CUDA's error {code}"

    @contextmanager
    def _locked(self, place: int) -> Generator[None]:
        # Record locks belong to a process, not to the descriptor that all of them inherited.
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, place)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)
