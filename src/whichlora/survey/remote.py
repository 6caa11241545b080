"""Read what a remote weight file says of itself, without downloading it: its safetensors header by range request."""

from __future__ import annotations

from dataclasses import dataclass

from whichlora.errors import HubError, RefusedError
from whichlora.lora.header import Header, header_length, parse_header
from whichlora.survey.hubclient import HubClient, Part

FIRST_READ_BYTES = 262_144
"""First request. A LoRA of the 20 B model has 0.1–0.4 MB of header, so one or two requests suffice."""


@dataclass(frozen=True, slots=True)
class RemoteHeader:
    """A remote header and what it cost."""

    header: Header
    """The checked header."""
    size_bytes: int
    """Size of the whole file."""
    bytes_read: int
    """Bytes of the file that were received."""


def read_remote_header(
    repo_id: str, file: str, revision: str | None = None, *, client: HubClient | None = None,
    size_bytes: int | None = None,
) -> RemoteHeader:
    """Read and check the header of a weight file on the Hub.

    Args:
        repo_id: Repository.
        file: Path inside it, in its own spelling.
        revision: Branch, tag or commit; the default branch without it.
        client: Connection to use; a new one without it.
        size_bytes: Size by the Hub's metadata, used when a reply does not tell it.

    Raises:
        RefusedError: It is no sound safetensors file; nothing beyond the header was read to learn this.
        UserError: No such file, or closed to this user.
        HubError: The Hub failed.
    """
    client = client or HubClient()
    part = client.read_part(repo_id, file, 0, FIRST_READ_BYTES, revision)
    total = _agree(part, size_bytes, f"{repo_id}:{file}")
    data = part.data
    if not data:
        raise RefusedError("The file is empty.")
    needed = header_length(data)
    if needed > len(data) and total > len(data):
        rest = client.read_part(repo_id, file, len(data), min(needed, total) - len(data), revision)
        data += rest.data
    return RemoteHeader(parse_header(data, total), total, len(data))


def _agree(part: Part, expected: int | None, what: str) -> int:
    """Size of the file; a reply that contradicts the metadata is refused."""
    if part.total_bytes is None and expected is None:
        raise HubError(f"The Hub does not tell the size of {what}.")
    if part.total_bytes is not None and expected is not None and part.total_bytes != expected:
        raise RefusedError(
            f"The Hub serves {part.total_bytes:,} bytes of a file that its metadata call {expected:,} bytes long."
        )
    total = part.total_bytes if part.total_bytes is not None else expected
    assert total is not None
    return total
