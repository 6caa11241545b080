"""Puts the app together: guard, pages, endpoints, pictures. Opens no port (see serve.py)."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from whichlora.errors import WhichloraError
from whichlora.review.desk import Desk
from whichlora.store import Store
from whichlora.types import Plan
from whichlora.web.answers import in_thread
from whichlora.web.blind import BlindPages
from whichlora.web.catalogue import Catalogue
from whichlora.web.guard import Guard, Sessions
from whichlora.web.pictures import Pictures
from whichlora.web.viewer import ViewerPages

PAGES = {"/": "home.html", "/pairs": "pairs.html", "/rate": "rate.html", "/extremes": "extremes.html",
         "/viewer": "viewer.html"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SHARED = {"stage.js": "stage.js", "controls.js": "controls.js", "report.css": "report.css"}
"""Files of the report that the pages use too: one stage for pictures, the keys that move it, one look."""


def build_app(folder: Path, plan: Plan, sessions: Sessions) -> Guard:
    """The whole app of a project, wrapped in its guard.

    Args:
        folder: The project folder.
        plan: Its newest plan.
        sessions: Tokens and sessions, for the port that the app will be served on.
    """
    voting, viewing, rows = Store(folder), Store(folder), Store(folder)
    pictures = Pictures(viewing, plan, folder)
    blind = BlindPages(Desk(voting, plan), plan, pictures, sessions)
    viewer = ViewerPages(Catalogue(viewing, plan), pictures, rows)
    static = _static_files()
    slots: list[anyio.CapacityLimiter] = []

    async def page(request: Request) -> Response:
        return _file(static, PAGES[request.url.path])

    async def asset(request: Request) -> Response:
        return _file(static, request.path_params["name"])

    async def image(request: Request) -> Response:
        session = request.scope["state"]["session"]
        showing = session.veil.find(request.path_params["key"])
        if showing is None:
            return PlainTextResponse("There is no such picture.", 404)
        if not slots:
            # Encoding is work for the processor: one core stays free, so that votes need not wait for it.
            slots.append(anyio.CapacityLimiter(max(1, min(4, (os.cpu_count() or 2) - 1))))
        try:
            data = await in_thread(lambda: pictures.encoder.encode(showing), slots[0])
        except WhichloraError:
            return PlainTextResponse("This picture cannot be read.", 404)
        return Response(data, media_type=showing.media_type, headers={"Cache-Control": "private, max-age=86400"})

    async def unknown(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "There is nothing at this address."}, 404)

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        # Scores of thousands of pictures take a moment to read; the first page need not wait for them.
        threading.Thread(target=viewer.catalogue.refresh, daemon=True, name="whichlora-scores").start()
        yield
        for store in (voting, viewing, rows):
            store.close()

    routes = [
        *(Route(path, page, methods=["GET"]) for path in PAGES), Route("/static/{name}", asset, methods=["GET"]),
        Route("/image/{key}", image, methods=["GET"]), *blind.routes(), *viewer.routes(),
    ]
    app = Starlette(routes=routes, lifespan=life, exception_handlers={404: unknown})
    return Guard(app, sessions)


def _static_files() -> dict[str, bytes]:
    """All pages, scripts and styles, read once: no path of a request ever reaches the disk."""
    found = {item.name: item.read_bytes() for item in (files("whichlora.web") / "static").iterdir() if item.is_file()}
    shared = files("whichlora.report") / "assets"
    found.update({name: (shared / source).read_bytes() for name, source in SHARED.items()})
    return found


def _file(static: dict[str, bytes], name: str) -> Response:
    data = static.get(name)
    if data is None:
        return PlainTextResponse("There is nothing at this address.", 404)
    return Response(data, media_type=TYPES.get(Path(name).suffix, "application/octet-stream"))
