"""Download one file into the Hub's cache: goes on where it was cut, checks the hash, leaves nothing wrong behind.

The Hub's client checks sizes only and throws a cut download away, so the transfer is ours; session, token, endpoint
and cache are the client's. A file whose hash is wrong is removed and refused: it never gets a name.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whichlora.errors import DiskFullError, HubError, MachineError, RefusedError, WhichloraError
from whichlora.fetch import cache as layout
from whichlora.fetch.digests import git_sha1_of, sha256_of
from whichlora.fetch.reuse import partial_path
from whichlora.fetch.wanted import Wanted
from whichlora.survey.hubclient import HubClient
from whichlora.survey.text import clean

_TRIES_WITHOUT_PROGRESS = 5


class CutError(HubError):
    """The connection ended before the file did; what arrived is kept."""


def download(
    wanted: Wanted, cache: Path, client: HubClient, tell: Callable[[int], None] | None = None
) -> Path:
    """Fetch one file, verified.

    Args:
        wanted: The file, with the size and hash that the Hub's metadata state.
        cache: The Hub's cache folder.
        client: Connection.
        tell: Given the number of new bytes, for a progress bar.

    Returns:
        Its path in the cache.

    Raises:
        RefusedError: Size or hash differ from the Hub's metadata; what arrived was removed.
        UserError: It does not exist, is gated or private.
        HubError: The connection died; what arrived is kept, and the same call goes on from there.
        DiskFullError: The disk is full; what arrived is kept.
    """
    layout.snapshot_path(cache, wanted.repo_id, wanted.commit, wanted.file)  # a name that is refused is not asked for
    part = partial_path(cache, wanted)
    part.parent.mkdir(parents=True, exist_ok=True)
    with _locked(cache, wanted):
        _transfer(wanted, part, client, tell or (lambda _: None))
        _verify(wanted, part)
        return layout.place(cache, wanted.repo_id, wanted.commit, wanted.file, wanted.key, part, wanted.revision)


def _transfer(wanted: Wanted, part: Path, client: HubClient, tell: Callable[[int], None]) -> None:
    """Bring the partial file to its full size, over as many connections as it takes."""
    idle = 0
    before = _size(part)
    if before > wanted.size_bytes:
        part.unlink()
        before = 0
    if before == 0:
        part.touch()
    tell(before)
    while (have := _size(part)) < wanted.size_bytes:
        try:
            client.patiently(lambda: _stream(wanted, part, client, tell), f"{wanted.repo_id}:{wanted.file}")
        except CutError as cut:
            idle = 0 if _size(part) > have else idle + 1
            if idle >= _TRIES_WITHOUT_PROGRESS:
                raise _stuck(wanted, _size(part)) from cut
        except HubError as error:
            raise _stuck(wanted, _size(part), error) from error


def _stream(wanted: Wanted, part: Path, client: HubClient, tell: Callable[[int], None]) -> None:
    """One request: append what arrives; a server that ignores ranges starts the file over."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import get_session, hf_raise_for_status

    have = _size(part)
    url = hf_hub_url(wanted.repo_id, wanted.file, revision=wanted.commit, endpoint=client.endpoint)
    headers = {**client.headers(), **({"Range": f"bytes={have}-"} if have else {})}
    with get_session().stream("GET", url, headers=headers, timeout=client.timeout_s, follow_redirects=True) as reply:
        hf_raise_for_status(reply)
        _check_length(reply, wanted, part)
        if have and reply.status_code != 206:
            tell(-have)
            part.write_bytes(b"")
            have = 0
        _append(reply, wanted, part, have, tell)


def _append(reply: Any, wanted: Wanted, part: Path, have: int, tell: Callable[[int], None]) -> None:
    """Write a reply's body to the partial file.

    Pieces are taken as they arrive: a larger buffer would be lost with the connection.

    Raises:
        CutError: The body ended early; what arrived is in the file.
        DiskFullError: There is no room.
    """
    try:
        with part.open("ab") as file:
            for chunk in _pieces(reply):
                # More than was promised is never written: a wrong server could fill the disk.
                chunk = chunk[: wanted.size_bytes - have]
                file.write(chunk)
                have += len(chunk)
                tell(len(chunk))
                if have >= wanted.size_bytes:
                    break
    except OSError as error:
        raise _disk_error(error, wanted) from error
    if have < wanted.size_bytes:
        raise CutError("cut")


def _pieces(reply: Any) -> Iterator[bytes]:
    """Pieces of a body; a connection that breaks just ends them."""
    try:
        yield from reply.iter_bytes()
    except Exception as error:
        if type(error).__module__.split(".")[0] not in {"httpx", "httpx2", "httpcore", "httpcore2"}:
            raise


def _check_length(reply: Any, wanted: Wanted, part: Path) -> None:
    """Refuse a file of another size before it is read."""
    span = reply.headers.get("Content-Range", "")
    text = span.rsplit("/", 1)[-1] if span else reply.headers.get("Content-Length", "")
    if text.isdigit() and int(text) != wanted.size_bytes:
        part.unlink(missing_ok=True)
        raise RefusedError(
            f"{wanted.repo_id}:{clean(wanted.file)} was refused: the server sends {int(text):,} bytes, "
            f"the Hub's metadata say {wanted.size_bytes:,}.",
            fix="Try again later; if it stays, tell the repository's author.",
        )


def _verify(wanted: Wanted, part: Path) -> None:
    """Compare the whole file with the Hub's hash; remove it when it differs."""
    digest = sha256_of(part) if wanted.sha256 is not None else git_sha1_of(part)
    if digest == wanted.key:
        return
    part.unlink(missing_ok=True)
    raise RefusedError(
        f"{wanted.repo_id}:{clean(wanted.file)} was refused and removed: its hash is {digest[:12]}…, "
        f"the Hub's metadata say {wanted.key[:12]}….",
        fix="Run the same command again; if it stays, the file on the server is damaged.",
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _stuck(wanted: Wanted, have: int, error: WhichloraError | None = None) -> HubError:
    share = 100 * have / wanted.size_bytes if wanted.size_bytes else 0
    cause = f" {error.message}" if error is not None else ""
    return HubError(
        f"The download of {wanted.repo_id}:{clean(wanted.file)} stopped at {share:.0f}%.{cause}",
        fix="Run the same command again: it goes on from there.",
    )


def _disk_error(error: OSError, wanted: Wanted) -> MachineError:
    if error.errno == errno.ENOSPC:
        return DiskFullError(
            f"The disk is full; {wanted.repo_id}:{clean(wanted.file)} waits half done.",
            fix="Free space, then run the same command again: it goes on from there.",
        )
    return MachineError(f"{clean(wanted.file)} cannot be written: {error.strerror or error}.")


@contextmanager
def _locked(cache: Path, wanted: Wanted) -> Iterator[None]:
    """Hold the lock that the Hub's own client uses for this content."""
    from huggingface_hub.utils import WeakFileLock

    folder = cache / ".locks" / f"models--{wanted.repo_id.replace('/', '--')}"
    folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(folder / f"{wanted.key}.lock"):
        yield
