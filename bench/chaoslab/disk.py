"""A disk that loses power: replays a recorded life and keeps only what the rules of a disk promise.

What was flushed stays. Everything else may be there, not be there, be there in part or in another order: bytes by
sectors of 512, a file's size without its bytes, names one by one. This is stricter than ext4 and follows what POSIX
leaves open (the method of ALICE, OSDI 2014). Memory-mapped writes are not seen; SQLite maps only its -shm file, which
it rebuilds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512


@dataclass(frozen=True)
class Call:
    """One recorded call."""

    name: str
    """System call."""
    texts: tuple[bytes, ...]
    """Its quoted arguments: paths or data."""
    numbers: tuple[int, ...]
    """Its bare numbers, in order."""
    words: str
    """Flags and the like, as printed."""
    result: int
    """What it returned."""


_LINE = re.compile(r"^(\d+)\s+(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\)\s+=\s+(-?\d+)")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>")
_QUOTED = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def read_log(path: Path) -> Iterator[Call]:
    """Calls of a log written by `strace -f -xx`, in order; failed calls are left out."""
    waiting: dict[str, str] = {}
    with path.open(encoding="ascii") as lines:
        for line in lines:
            found = _LINE.match(line)
            if not found:
                continue
            pid, text = found[1], found[2]
            if text.endswith("<unfinished ...>"):
                waiting[pid] = text.removesuffix("<unfinished ...>").rstrip()
                continue
            text = _RESUMED.sub(lambda _, pid=pid: waiting.pop(pid, ""), text)
            call = _CALL.match(text)
            if call and int(call[3]) >= 0:
                yield _parse(call[1], call[2], int(call[3]))


def _parse(name: str, arguments: str, result: int) -> Call:
    texts = tuple(bytes.fromhex(hit.replace("\\x", "")) for hit in _QUOTED.findall(arguments))
    bare = _QUOTED.sub("", arguments)
    numbers = tuple(int(item) for item in re.findall(r"(?<![\w.])-?\d+(?![\w.])", bare))
    return Call(name, texts, numbers, bare, result)


@dataclass
class Node:
    """A file: bytes that are safe, and writes that are not."""

    folder: bool = False
    safe: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    pending: list[tuple[str, int, bytes]] = field(default_factory=list)

    def change(self, kind: str, offset: int, data: bytes = b"") -> None:
        """'write' data at an offset, or 'cut' to a size."""
        _apply(self.now, kind, offset, data)
        self.pending.append((kind, offset, data))

    def flush(self) -> None:
        """Everything so far is safe."""
        self.safe, self.pending = bytes(self.now), []


def _apply(content: bytearray, kind: str, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if kind == "cut":
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


@dataclass
class Disk:
    """A folder on a disk whose power may go."""

    root: str
    """Absolute path of the recorded folder."""
    names: dict[str, Node] = field(default_factory=dict)
    """Path → file, as programs see it."""
    safe_names: dict[str, Node] = field(default_factory=dict)
    """Path → file, as it is after a power cut at the latest."""
    pending: list[list[tuple[str, Node | None]]] = field(default_factory=list)
    """Changes of names that are not flushed, oldest first; one call may change two."""
    said: list[str] = field(default_factory=list)
    """What the writer said so far."""
    _files: dict[int, tuple[Node, str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        root = Node(folder=True)
        self.names[self.root], self.safe_names[self.root] = root, root

    def feed(self, call: Call) -> bool:
        """Follow one call. Returns whether it changed anything that a power cut could undo or had made safe."""
        handler = getattr(self, f"_{call.name}", None)
        return bool(handler(call)) if handler else False

    def _openat(self, call: Call) -> bool:
        path = call.texts[0].decode() if call.texts else ""
        self._files.pop(call.result, None)
        if not self._mine(path):
            return False
        made = path not in self.names
        if made:
            node = Node()
            self.names[path] = node
            self.pending.append([(path, node)])
        node = self.names[path]
        cut = "O_TRUNC" in call.words and bool(node.now)
        if cut:
            node.change("cut", 0)
        self._files[call.result] = (node, path, len(node.now) if "O_APPEND" in call.words else 0)
        return made or cut

    def _close(self, call: Call) -> bool:
        self._files.pop(call.numbers[0], None)
        return False

    def _write(self, call: Call) -> bool:
        if call.numbers[0] not in self._files or not call.result:
            return False
        node, path, position = self._files[call.numbers[0]]
        node.change("write", position, call.texts[0][: call.result])
        self._files[call.numbers[0]] = (node, path, position + call.result)
        return True

    def _pwrite64(self, call: Call) -> bool:
        if call.numbers[0] not in self._files:
            return False
        self._files[call.numbers[0]][0].change("write", call.numbers[-1], call.texts[0][: call.result])
        return True

    def _ftruncate(self, call: Call) -> bool:
        if call.numbers[0] not in self._files:
            return False
        self._files[call.numbers[0]][0].change("cut", call.numbers[1])
        return True

    def _fsync(self, call: Call) -> bool:
        if call.numbers[0] not in self._files:
            return False
        node, path, _ = self._files[call.numbers[0]]
        if node.folder:
            self._flush_names(path)
        else:
            node.flush()
        return True

    _fdatasync = _fsync

    def _flush_names(self, folder: str) -> None:
        kept: list[list[tuple[str, Node | None]]] = []
        for group in self.pending:
            inside = [change for change in group if change[0].rpartition("/")[0] == folder]
            for path, node in inside:
                _rename(self.safe_names, path, node)
            if len(inside) < len(group):
                kept.append([change for change in group if change not in inside])
        self.pending = kept

    def _mkdir(self, call: Call) -> bool:
        path = call.texts[0].decode()
        if not self._mine(path):
            return False
        self.names[path] = Node(folder=True)
        self.pending.append([(path, self.names[path])])
        return True

    def _rename(self, call: Call) -> bool:
        old, new = (text.decode() for text in call.texts[:2])
        if old not in self.names:
            return False
        node = self.names.pop(old)
        self.names[new] = node
        self.pending.append([(new, node), (old, None)])
        return True

    def _link(self, call: Call) -> bool:
        old, new = (text.decode() for text in call.texts[:2])
        if old not in self.names:
            return False
        self.names[new] = self.names[old]
        self.pending.append([(new, self.names[old])])
        return True

    def _unlink(self, call: Call) -> bool:
        path = call.texts[0].decode()
        if self.names.pop(path, None) is None:
            return False
        self.pending.append([(path, None)])
        return True

    def _sendto(self, call: Call) -> bool:
        self.said.append(call.texts[0].decode(errors="replace"))
        return False

    def _mine(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root + "/")

    # ---------------------------------------------------------------- the cut

    def after_cut(self, names: str, data: str, rng: random.Random) -> dict[str, bytes | None]:
        """Path below the root → bytes (None for a folder), as found when the power is back.

        Args:
            names: Which unflushed changes of names arrived: 'none', 'all', 'some', 'first' (some number of the oldest).
            data: Which unflushed bytes arrived: 'none', 'all', 'some' (by sectors), 'first', 'size' (zeros).
            rng: Random numbers for 'some' and 'first'.
        """
        tree = dict(self.safe_names)
        upto = rng.randint(0, len(self.pending))
        for index, group in enumerate(self.pending):
            if {"none": False, "all": True, "some": rng.random() < 0.5, "first": index < upto}[names]:
                for path, node in group:
                    _rename(tree, path, node)
        contents: dict[int, bytes] = {}
        found: dict[str, bytes | None] = {}
        for path in sorted(tree):
            node = tree[path]
            above = path.rpartition("/")[0]
            if path == self.root or above not in {self.root, *(self.root + "/" + known for known in found)}:
                continue  # a name inside a folder that was lost
            if id(node) not in contents and not node.folder:
                contents[id(node)] = _survivor(node, data, rng)
            found[path[len(self.root) + 1 :]] = None if node.folder else contents[id(node)]
        return found


def _rename(tree: dict[str, Node], path: str, node: Node | None) -> None:
    if node is None:
        tree.pop(path, None)
    else:
        tree[path] = node


def _survivor(node: Node, data: str, rng: random.Random) -> bytes:
    """Bytes of a file after the cut."""
    if data == "all" or not node.pending:
        return bytes(node.now)
    if data == "none":
        return node.safe
    content = bytearray(node.safe)
    upto = rng.randint(0, len(node.pending))
    for index, (kind, offset, piece) in enumerate(node.pending):
        if data == "size":
            _apply(content, kind, max(offset, len(content)) if kind == "write" else offset, b"")
            if kind == "write" and len(content) < offset + len(piece):
                content.extend(bytes(offset + len(piece) - len(content)))
        elif data == "first":
            if index < upto:
                _apply(content, kind, offset, piece)
            elif index == upto and kind == "write":  # torn in the middle
                _apply(content, kind, offset, piece[: rng.randint(0, len(piece))])
        elif kind == "cut":
            if rng.random() < 0.5:
                _apply(content, kind, offset, piece)
        else:
            for start in range(0, len(piece), SECTOR):
                if rng.random() < 0.5:
                    _apply(content, kind, offset + start, piece[start : start + SECTOR])
    return bytes(content)
