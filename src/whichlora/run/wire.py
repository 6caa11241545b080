"""Messages between a parent and its worker: a JSON head and raw bytes, framed by their lengths.

No pickle: what a worker that has read strangers' files sends back is parsed as data and can name no code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

from whichlora.errors import MachineError

Head = dict[str, Any]
"""The JSON part of a message."""

_LENGTHS = struct.Struct(">II")
_HEAD_LIMIT = 1 << 28
_BODY_LIMIT = 1 << 30


def write_message(stream: IO[bytes], head: Mapping[str, Any], body: bytes = b"") -> None:
    """Write one message and flush.

    Raises:
        OSError: Nobody listens any more.
    """
    text = json.dumps(head, ensure_ascii=False, allow_nan=False).encode()
    stream.write(_LENGTHS.pack(len(text), len(body)) + text)
    if body:
        stream.write(body)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[Head, bytes] | None:
    """Read one message; None when the other side is gone, even in the middle of one.

    Raises:
        MachineError: What arrived is no message.
    """
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_length, body_length = _LENGTHS.unpack(lengths)
    if head_length > _HEAD_LIMIT or body_length > _BODY_LIMIT:
        raise MachineError("A worker sent something that is no message.", fix="Run the same command again.")
    head, body = stream.read(head_length), stream.read(body_length)
    if len(head) < head_length or len(body) < body_length:
        return None
    try:
        parsed = json.loads(head)
    except ValueError as error:
        raise MachineError("A worker sent something that is no message.", fix="Run the same command again.") from error
    if not isinstance(parsed, dict):
        raise MachineError("A worker sent something that is no message.", fix="Run the same command again.")
    return parsed, body
