"""Who may speak to the server: requests of our own page in this browser, nobody else. Everything forged gets 403.

Checked for every request, in this order: Host and Origin exactly, the browser's own word on where a request comes
from, the method, and, for all that carries data, the session's cookie. Other web pages, other hosts that point a name
at this machine, and other users of this machine each fail at least one of these.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichlora.review.blinding import Veil

MAX_SESSIONS = 64
OPEN_PREFIXES = ("/static/",)
OPEN_PATHS = ("/", "/pairs", "/rate", "/extremes", "/viewer", "/api/session")
"""Pages and scripts hold no data of a project and may be fetched before the token is exchanged."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass
class Session:
    """One browser that brought a token."""

    veil: Veil = field(default_factory=Veil)
    """Ids of the pictures it may ask for."""
    since: float = field(default_factory=time.monotonic)
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    """Tells sessions apart inside the server; never sent."""


class Sessions:
    """Tokens, each good for one exchange, and the sessions made of them. In memory only: they end with the server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = f"whichlora_{port}"
        """Cookies do not tell ports apart, so the port is part of the name."""
        self._tokens: set[str] = set()
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def new_token(self) -> str:
        """A token for a link; it opens one session."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._tokens.add(_digest(token))
        return token

    def exchange(self, token: str) -> str | None:
        """Turn a token into the value of a session's cookie; None when it is wrong or was used."""
        wanted = _digest(token)
        with self._lock:
            match = next((known for known in self._tokens if hmac.compare_digest(known, wanted)), None)
            if match is None:
                return None
            self._tokens.discard(match)
            if len(self._sessions) >= MAX_SESSIONS:
                oldest = min(self._sessions, key=lambda key: self._sessions[key].since)
                del self._sessions[oldest]
            value = secrets.token_urlsafe(32)
            self._sessions[_digest(value)] = Session()
            return value

    def find(self, value: str | None) -> Session | None:
        """The session of a cookie."""
        return self._sessions.get(_digest(value)) if value else None

    def link(self) -> str:
        """An address that opens a session; the token stands behind '#', which browsers never send."""
        return f"http://127.0.0.1:{self.port}/#t={self.new_token()}"


def _digest(text: str) -> str:
    """What is compared instead of the secret itself, so that timing tells nothing of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Guard:
    """ASGI middleware that lets only our own page through and puts the safety headers on every answer."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self.app = app
        self.sessions = sessions
        self.host = f"127.0.0.1:{sessions.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then hand on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await PlainTextResponse("Only HTTP is spoken here.", 403)(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        reason = self.refusal(scope)
        if reason:
            await PlainTextResponse(f"Refused: {reason}\n", 403)(scope, receive, send_safely)
            return
        await self.app(scope, receive, send_safely)

    def refusal(self, scope: Scope) -> str:
        """Why a request is refused, or ''. Puts the session into the scope."""
        headers = Headers(scope=scope)
        if headers.getlist("host") != [self.host]:
            return f"this server answers to http://{self.host}/ only."
        origins = headers.getlist("origin")
        if origins and origins != [f"http://{self.host}"]:
            return "the request comes from another page."
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "the request comes from another page."
        method = scope["method"]
        if method not in ("GET", "HEAD", "POST"):
            return "this method is not used here."
        if method == "POST" and not origins:
            return "the request does not say which page it comes from."
        if method == "POST" and headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return "only JSON is read."
        session = self.sessions.find(HTTPConnection(scope).cookies.get(self.sessions.cookie))
        if session is None and not _is_open(scope["path"]):
            return "open the link that whichlora printed."
        scope.setdefault("state", {})["session"] = session
        return ""


def _is_open(path: str, prefixes: Iterable[str] = OPEN_PREFIXES) -> bool:
    return path in OPEN_PATHS or any(path.startswith(prefix) for prefix in prefixes)
