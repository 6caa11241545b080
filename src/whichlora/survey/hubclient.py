"""Speak to the Hub patiently: paging, ranges, rate limits, dead connections; every failure becomes one sentence.

Uses huggingface_hub's own session, headers and error classes, so HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and proxies
work as everywhere. What it adds: a time limit on every request, waiting as long as a 429 asks (and saying so), and
counting what was asked and read. It decides nothing about models.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from whichlora.errors import HubError, UserError, WhichloraError
from whichlora.survey.text import clean

T = TypeVar("T")
TIMEOUT_S = 20.0
"""Longest silence of the server before a request counts as dead."""
LONGEST_WAIT_S = 330
"""Longest wait that a rate limit may ask for; the Hub's window is 300 s."""
_TRIES = 4
_RATELIMIT = re.compile(r"r\s*=\s*(\d+)\s*;\s*t\s*=\s*(\d+)")


@dataclass
class Traffic:
    """What was asked of the Hub."""

    api_calls: int = 0
    """Requests to /api, each counted once per attempt."""
    file_requests: int = 0
    """Requests for parts of files."""
    bytes_read: int = 0
    """Bytes of files that were received."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, api: int = 0, files: int = 0, read: int = 0) -> None:
        """Count, from any thread."""
        with self._lock:
            self.api_calls += api
            self.file_requests += files
            self.bytes_read += read


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a remote file."""

    data: bytes
    """The bytes."""
    total_bytes: int | None
    """Size of the whole file, when the server said it."""


class HubClient:
    """A patient connection to the Hub.

    Args:
        say: Told what is being waited for, in a sentence.
        timeout_s: Longest silence of the server.
        longest_wait_s: Longest wait for a rate limit.
    """

    def __init__(
        self, say: Callable[[str], None] | None = None, *, timeout_s: float = TIMEOUT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self.traffic = Traffic()
        self._say = say or (lambda _: None)
        self.timeout_s = timeout_s
        self._longest_wait_s = longest_wait_s

    @property
    def endpoint(self) -> str:
        """Address of the Hub (HF_ENDPOINT)."""
        from huggingface_hub import constants

        return constants.ENDPOINT

    def headers(self) -> dict[str, str]:
        """Request headers, with the token when there is one."""
        from huggingface_hub.utils import build_hf_headers

        return {**build_hf_headers(library_name="whichlora"), "Accept-Encoding": "identity"}

    def list_models(self, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Every repository that a query finds, page by page.

        Raises:
            HubError: The Hub could not be reached or kept answering with an error.
        """
        url: str | None = f"{self.endpoint}/api/models"
        query: Mapping[str, Any] | None = params
        while url:
            reply = self._get_json(url, query, "the list of models")
            yield from (item for item in reply.json() if isinstance(item, dict))
            url, query = self._next_page(reply, url), None

    def model_info(self, repo_id: str, revision: str | None = None) -> dict[str, Any]:
        """Card data and file list with sizes and hashes of one repository: one call.

        Raises:
            UserError: It does not exist, or is closed to this user.
            HubError: The Hub failed.
        """
        path = f"{self.endpoint}/api/models/{quote(repo_id)}"
        if revision is not None:
            path += f"/revision/{quote(revision, safe='')}"
        return dict(self._get_json(path, {"blobs": True}, repo_id).json())

    def read_part(
        self, repo_id: str, file: str, start: int, length: int, revision: str | None = None
    ) -> Part:
        """Read bytes of a remote file by range request; a server without ranges is cut off after what is needed.

        Raises:
            UserError: The file or repository does not exist, or is closed to this user.
            HubError: The Hub failed or sent less than it promised.
        """
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(repo_id, file, revision=revision, endpoint=self.endpoint)
        return self.patiently(lambda: self._read_once(url, start, length), f"{repo_id}:{file}")

    def read_text(self, repo_id: str, file: str, revision: str | None = None, limit: int = 262_144) -> str:
        """Beginning of a remote text file; bytes that are no UTF-8 are replaced."""
        return self.read_part(repo_id, file, 0, limit, revision).data.decode("utf-8", errors="replace")

    def patiently(self, call: Callable[[], T], what: str) -> T:
        """Run a request; wait out rate limits and short failures; explain what remains.

        Args:
            call: The request; may be run several times.
            what: What is asked for, as shown to people.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                return call()
            except WhichloraError:
                raise
            except Exception as error:
                wait = _wait_for(error, attempt)
                if wait is None or attempt == _TRIES or wait > self._longest_wait_s:
                    raise explain(error, what, self.endpoint) from error
                if wait >= 2:
                    self._say(f"{_busy(error)}; waiting {wait:.0f} s, then going on.")
                time.sleep(wait)
        raise AssertionError("unreachable")

    def _get_json(self, url: str, params: Mapping[str, Any] | None, what: str) -> Any:
        from huggingface_hub.utils import get_session, hf_raise_for_status

        def ask() -> Any:
            self.traffic.add(api=1)
            reply = get_session().get(
                url, params=dict(params) if params else None, headers=self.headers(), timeout=self.timeout_s,
                follow_redirects=True,
            )
            hf_raise_for_status(reply)
            reply.json()  # a page that is no JSON is found here, inside the patience
            return reply

        return self.patiently(ask, what)

    def _next_page(self, reply: Any, url: str) -> str | None:
        following = reply.links.get("next", {}).get("url")
        if not following:
            return None
        following = urljoin(url, following)
        # The token travels with the request: never to another host, whatever a reply says.
        same = urlsplit(following)[:2] == urlsplit(url)[:2]
        return following if same else None

    def _read_once(self, url: str, start: int, length: int) -> Part:
        from huggingface_hub.utils import get_session, hf_raise_for_status

        self.traffic.add(files=1)
        headers = {**self.headers(), "Range": f"bytes={start}-{start + length - 1}"}
        with get_session().stream(
            "GET", url, headers=headers, timeout=self.timeout_s, follow_redirects=True
        ) as reply:
            if reply.status_code == 416:
                return Part(b"", _total(reply))
            hf_raise_for_status(reply)
            skip = 0 if reply.status_code == 206 else start
            data = bytearray()
            for chunk in reply.iter_bytes():
                self.traffic.add(read=len(chunk))
                data += chunk
                if len(data) >= skip + length:
                    break
            return Part(bytes(data[skip : skip + length]), _total(reply))


def _total(reply: Any) -> int | None:
    """Size of the whole file, from a partial or a full reply."""
    span = reply.headers.get("Content-Range", "")
    text = span.rsplit("/", 1)[-1] if span else reply.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _wait_for(error: Exception, attempt: int) -> float | None:
    """Seconds to wait before another try; None when trying again is of no use."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = _status(error)
    if isinstance(error, OfflineModeIsEnabled):
        return None
    if status == 429:
        return _asked_wait(error)
    if status in {408, 500, 502, 503, 504} or _is_network(error) or (status is None and isinstance(error, ValueError)):
        return 0.5 * 2 ** (attempt - 1)
    return None


def _asked_wait(error: Exception) -> float:
    """Seconds that a 429 asks for, by the RateLimit header or Retry-After; 5 if it says nothing."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    limit = _RATELIMIT.search(headers.get("ratelimit", "") or headers.get("RateLimit", ""))
    if limit:
        return float(limit[2]) + 1
    after = headers.get("retry-after", "")
    return float(after) + 1 if after.isdigit() else 5.0


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _is_network(error: Exception) -> bool:
    """True for the transport errors of whichever httpx the installed huggingface_hub uses."""
    names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.split(".")[0] in {"httpx", "httpx2"}}
    return bool(names & {"TransportError", "TimeoutException", "NetworkError", "RemoteProtocolError"}) or isinstance(
        error, ConnectionError | TimeoutError
    )


def _busy(error: Exception) -> str:
    return "The Hub's rate limit is reached" if _status(error) == 429 else "The Hub does not answer"


def explain(error: Exception, what: str, endpoint: str) -> WhichloraError:
    """One clear sentence for a failed request, with the next step.

    Args:
        error: What the client raised.
        what: What was asked for: 'owner/name', 'owner/name:file', or words.
        endpoint: Address of the Hub.
    """
    from huggingface_hub import errors

    what = clean(what, limit=200)
    host = clean(urlsplit(endpoint).netloc or endpoint)
    status = _status(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubError(
            f"Offline mode is on, so {what} was not asked for.",
            fix="Unset HF_HUB_OFFLINE, or use what is already on disk (survey --offline).",
        )
    said = getattr(getattr(error, "response", None), "headers", {}).get("X-Error-Message", "")
    if status == 401 and "Invalid credentials" in said:
        return UserError(
            f"{host} does not know your token, so it refuses everything, {what} too.",
            fix="Sign in again with: hf auth login, or unset HF_TOKEN; public files need no token.",
        )
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            f"{what} is gated: its author must admit you first.",
            fix=f"Accept the terms at {endpoint}/{what.split(':')[0]} and sign in with: hf auth login",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{what} has no such revision.", fix="Leave the revision out to take the newest.")
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(f"There is no file {what} on {host}.", fix="The survey lists the files of a repository.")
    if isinstance(error, errors.RepositoryNotFoundError) or status in {401, 404}:
        return UserError(
            f"{what} was not found on {host}: it is misspelled, deleted, or private"
            + (" (the Hub answers 401 for all three)." if status == 401 else "."),
            fix="Check the name; if it is private, sign in with: hf auth login",
        )
    if status == 403:
        return UserError(f"{host} refuses {what} to this account (403).", fix="Check your token with: hf auth whoami")
    if status == 429:
        return HubError(
            f"The Hub's rate limit is reached, and it asks to wait {_asked_wait(error):.0f} s.",
            fix="Run the same command again then; a free token raises the limit: hf auth login",
        )
    if status is not None:
        return HubError(f"{host} answered {status} for {what}.", fix="Run the same command again later.")
    if _is_network(error):
        return HubError(
            f"{host} could not be reached for {what} ({type(error).__name__}).",
            fix="Check the connection and run the same command again: it goes on where it stopped.",
        )
    return HubError(f"{host} gave an answer for {what} that cannot be read ({type(error).__name__}).")
