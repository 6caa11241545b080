"""A small Hub on 127.0.0.1, spoken to by the real huggingface_hub client through HF_ENDPOINT.

It knows listing with pages, model info, file metadata, ranges, renamed, gated, private and missing repositories,
and can be told to misbehave: rate limits, truncated, slow, dead and wrong files. It keeps a log of every request.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


def safetensors_header(
    tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None = None
) -> tuple[bytes, int]:
    """Header bytes and total file size of a safetensors file with these tensors."""
    width = {"BF16": 2, "F16": 2, "F32": 4}
    document: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for name, (dtype, shape) in tensors.items():
        count = 1
        for size in shape:
            count *= size
        document[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + count * width[dtype]]}
        position += count * width[dtype]
    text = json.dumps(document, ensure_ascii=False).encode()
    return struct.pack("<Q", len(text)) + text, 8 + len(text) + position


def lora_tensors(
    rank: int = 16, blocks: int = 60, prefix: str = "transformer.", suffixes: tuple[str, str] = ("lora_A", "lora_B"),
    modules: tuple[str, ...] = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"), width: int = 3072,
    block: str = "transformer_blocks",
) -> dict[str, tuple[str, list[int]]]:
    """Tensors of a LoRA at the true shapes of the 20 B model."""
    found: dict[str, tuple[str, list[int]]] = {}
    for index in range(blocks):
        for module in modules:
            stem = f"{prefix}{block}.{index}.{module}"
            found[f"{stem}.{suffixes[0]}.weight"] = ("BF16", [rank, width])
            found[f"{stem}.{suffixes[1]}.weight"] = ("BF16", [width, rank])
    return found


@dataclass
class File:
    """A file whose beginning is given and whose rest is zeros, so that hundreds of megabytes cost nothing."""

    head: bytes
    size: int = -1
    sha256: str | None = None
    """Hash that the Hub claims; the true one when None."""
    lfs: bool = True

    def __post_init__(self) -> None:
        if self.size < 0:
            self.size = len(self.head)

    def read(self, start: int, stop: int) -> bytes:
        """Bytes from start to stop."""
        piece = self.head[start:stop]
        return piece + bytes(max(0, min(stop, self.size) - max(start, len(self.head))))

    def claimed(self) -> str:
        """The SHA-256 in the Hub's metadata."""
        if self.sha256 is None:
            digest = hashlib.sha256(self.head)
            left = self.size - len(self.head)
            while left > 0:
                digest.update(bytes(min(left, 1 << 20)))
                left -= 1 << 20
            self.sha256 = digest.hexdigest()
        return self.sha256

    def etag(self) -> str:
        """SHA-256 for large files, git's blob hash for small ones."""
        if self.lfs:
            return self.claimed()
        return hashlib.sha1(f"blob {self.size}\0".encode() + self.read(0, self.size)).hexdigest()


@dataclass
class Repo:
    """A repository."""

    id: str
    files: dict[str, File] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)
    readme: str | None = None
    downloads: int = 0
    likes: int = 0
    modified: str = "2026-01-02T03:04:05.000Z"
    gated: bool = False
    private: bool = False

    def __post_init__(self) -> None:
        if self.readme is not None:
            self.files = {"README.md": File(self.readme.encode(), lfs=False), **self.files}

    def info(self, blobs: bool) -> dict[str, Any]:
        """The API's answer for this repository."""
        siblings: list[dict[str, Any]] = []
        for name, file in self.files.items():
            sibling: dict[str, Any] = {"rfilename": name}
            if blobs:
                sibling["size"] = file.size
                sibling["blobId"] = "0" * 40 if file.lfs else file.etag()
                if file.lfs:
                    sibling["lfs"] = {"sha256": file.claimed(), "size": file.size, "pointerSize": 134}
            siblings.append(sibling)
        return {
            "_id": self.id, "id": self.id, "modelId": self.id, "author": self.id.split("/")[0], "sha": COMMIT,
            "lastModified": self.modified, "private": self.private, "gated": "manual" if self.gated else False,
            "disabled": False, "downloads": self.downloads, "likes": self.likes, "tags": self.tags,
            "cardData": self.card, "siblings": siblings,
        }


class Hub:
    """The server. Use as a context manager; `url` is its address."""

    def __init__(self, repos: list[Repo] | None = None, *, page_size: int = 100) -> None:
        self.repos = {repo.id: repo for repo in repos or []}
        self.renamed: dict[str, str] = {}
        self.page_size = page_size
        self.log: list[tuple[str, str, str, int]] = []
        """(method, path, Range header, bytes sent)."""
        self.rate_limits: list[dict[str, str]] = []
        """Headers of 429 answers still to be given, to any request."""
        self.fail_status: list[int] = []
        """Statuses still to be answered, to any request."""
        self.cut_after: dict[str, list[int]] = {}
        """Path ending → after how many bytes the connection is cut, one a request."""
        self.corrupt: set[str] = set()
        """Path endings whose content is served with its last byte changed."""
        self.silent: set[str] = set()
        """Path endings that are accepted and never answered."""
        self.ignore_ranges = False
        self.delay_s = 0.0
        self.tokens: set[str] = set()
        """Tokens that may see gated and private repositories."""
        self.seen_tokens: set[str] = set()
        self.evil_next: str = ""
        """Address that the list's Link header points to, whatever was asked."""
        hub = self

        class Handler(_Handler):
            owner = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def api_calls(self) -> int:
        """Requests to /api so far."""
        return sum(path.startswith("/api/") for _, path, _, _ in self.log)

    def bytes_of(self, ending: str) -> int:
        """Bytes sent of files whose path ends so."""
        return sum(count for _, path, _, count in self.log if unquote(urlsplit(path).path).endswith(ending))

    def find(self, repo_id: str) -> Repo | None:
        return self.repos.get(repo_id)


class _Handler(BaseHTTPRequestHandler):
    owner: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._serve(head=True)

    def do_GET(self) -> None:
        self._serve(head=False)

    def _serve(self, *, head: bool) -> None:
        hub = self.owner
        self._sent = 0
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        hub.seen_tokens.add(token)
        try:
            self._route(head, token)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            hub.log.append((self.command, self.path, self.headers.get("Range") or "", self._sent))

    def _route(self, head: bool, token: str) -> None:
        hub = self.owner
        path = unquote(urlsplit(self.path).path)
        if any(path.endswith(ending) for ending in hub.silent):
            time.sleep(30)
            return
        if token == "hf_expired":
            message = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self._reply(401, b"{}", message, head)
            return
        if hub.rate_limits:
            self._reply(429, b"{}", hub.rate_limits.pop(0), head)
            return
        if hub.fail_status:
            self._reply(hub.fail_status.pop(0), b"{}", {}, head)
            return
        if path == "/api/models":
            self._list(head)
        elif path.startswith("/api/models/"):
            self._info(path.removeprefix("/api/models/"), head, token)
        elif "/resolve/" in path:
            self._file(path, head, token)
        else:
            self._reply(404, b"{}", {"X-Error-Code": "EntryNotFound"}, head)

    def _list(self, head: bool) -> None:
        hub = self.owner
        query = parse_qs(urlsplit(self.path).query)
        found = list(self._matching(query))
        start = int(query.get("cursor", ["0"])[0])
        size = min(int(query.get("limit", [str(hub.page_size)])[0]), hub.page_size)
        page = [repo.info(False) for repo in found[start : start + size]]
        headers = {}
        if start + size < len(found):
            pairs = [(name, value) for name, values in query.items() for value in values if name != "cursor"]
            text = "&".join(f"{name}={quote(value)}" for name, value in [*pairs, ("cursor", str(start + size))])
            headers["Link"] = f'<{hub.evil_next or f"{hub.url}/api/models?{text}"}>; rel="next"'
        self._reply(200, json.dumps(page).encode(), headers, head)

    def _matching(self, query: dict[str, list[str]]) -> Iterator[Repo]:
        for repo in self.owner.repos.values():
            if repo.private:
                continue
            if any(tag not in repo.tags for tag in query.get("filter", [])):
                continue
            if any(words.lower() not in repo.id.lower() for words in query.get("search", [])):
                continue
            if any(repo.id.split("/")[0] != author for author in query.get("author", [])):
                continue
            yield repo

    def _closed(self, repo: Repo | None, repo_id: str, head: bool, token: str, *, gate: bool) -> bool:
        """Answer for what this token may not see; True when answered."""
        if repo is None or (repo.private and token not in self.owner.tokens):
            # The Hub hides whether a repository exists from whoever is not signed in.
            status = 404 if token else 401
            self._reply(status, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"}, head)
            return True
        if gate and repo.gated and token not in self.owner.tokens:
            status = 403 if token else 401
            headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to {repo_id} is restricted"}
            self._reply(status, b"{}", headers, head)
            return True
        return False

    def _info(self, rest: str, head: bool, token: str) -> None:
        repo_id = "/".join(rest.split("/")[:2])
        if repo_id in self.owner.renamed:
            target = self.path.replace(repo_id, self.owner.renamed[repo_id])
            self._reply(307, b"", {"Location": target}, head)
            return
        repo = self.owner.find(repo_id)
        if self._closed(repo, repo_id, head, token, gate=False):
            return
        assert repo is not None
        blobs = parse_qs(urlsplit(self.path).query).get("blobs", ["false"])[0].lower() == "true"
        self._reply(200, json.dumps(repo.info(blobs)).encode(), {}, head)

    def _file(self, path: str, head: bool, token: str) -> None:
        hub = self.owner
        repo_id, rest = path.lstrip("/").split("/resolve/", 1)
        name = rest.split("/", 1)[1]
        if repo_id in hub.renamed:
            self._reply(307, b"", {"Location": quote(path.replace(repo_id, hub.renamed[repo_id]))}, head)
            return
        repo = hub.find(repo_id)
        if self._closed(repo, repo_id, head, token, gate=True):
            return
        assert repo is not None
        file = repo.files.get(name)
        if file is None:
            self._reply(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, head)
            return
        self._send_file(path, file, head)

    def _send_file(self, path: str, file: File, head: bool) -> None:
        hub = self.owner
        headers = {"ETag": f'"{file.etag()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.claimed()}"', "X-Linked-Size": str(file.size)}
        start, stop, status = 0, file.size, 200
        wanted = self.headers.get("Range")
        if wanted and not hub.ignore_ranges:
            first, last = wanted.removeprefix("bytes=").split("-")
            start = int(first)
            stop = min(int(last) + 1 if last else file.size, file.size)
            if start >= file.size:
                self._reply(416, b"", {"Content-Range": f"bytes */{file.size}"}, head)
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(stop - start)}.items():
            self.send_header(key, value)
        self.end_headers()
        if head:
            return
        cuts = next((cuts for ending, cuts in hub.cut_after.items() if path.endswith(ending) and cuts), None)
        limit = cuts.pop(0) if cuts else None
        corrupt = any(path.endswith(ending) for ending in hub.corrupt)
        position = start
        while position < stop:
            size = min(65_536, stop - position)
            if limit is not None:
                size = min(size, limit - self._sent)
                if size <= 0:
                    self._cut()
                    return
            piece = file.read(position, position + size)
            if corrupt and position + size == file.size:
                piece = piece[:-1] + bytes([piece[-1] ^ 0xFF])
            self.wfile.write(piece)
            self._sent += len(piece)
            position += size
            if hub.delay_s:
                time.sleep(hub.delay_s)

    def _cut(self) -> None:
        """Drop the connection in the middle of a body."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _reply(self, status: int, body: bytes, headers: dict[str, str], head: bool) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if not head:
            self.wfile.write(body)
            self._sent += len(body)
