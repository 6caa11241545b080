"""Small pieces that every endpoint shares: reading a request's JSON, answering, errors as sentences."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whichlora.errors import UserError, WhichloraError

MAX_BODY_BYTES = 64 * 1024
T = TypeVar("T")


async def read_json(request: Request) -> dict[str, Any]:
    """Body of a request.

    Raises:
        UserError: Too long, no JSON, or not an object.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise UserError(f"A request has at most {MAX_BODY_BYTES} bytes.")
    try:
        data = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UserError("The request holds no JSON.") from None
    if not isinstance(data, dict):
        raise UserError("The request holds no JSON object.")
    return data


def text(data: Mapping[str, Any], name: str) -> str:
    """A text field.

    Raises:
        UserError: It is missing or no text.
    """
    value = data.get(name)
    if not isinstance(value, str):
        raise UserError(f"The field '{name}' must be text.")
    return value


def whole(data: Mapping[str, Any], name: str, default: int = 0) -> int:
    """A whole number from a query, 0 or above."""
    try:
        value = int(data.get(name, default))
    except (TypeError, ValueError):
        raise UserError(f"The field '{name}' must be a whole number.") from None
    if not 0 <= value < 10**9:
        raise UserError(f"The field '{name}' is out of range.")
    return value


def endpoint(function: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Turn the errors of an endpoint into one sentence and a status."""

    @wraps(function)
    async def call(request: Request) -> Response:
        try:
            return await function(request)
        except UserError as error:
            return JSONResponse({"error": f"{error.message} {error.fix}".strip()}, 400)
        except WhichloraError as error:
            return JSONResponse({"error": f"{error.message} {error.fix}".strip()}, 503)

    return call


async def in_thread(function: Callable[[], T], limiter: anyio.CapacityLimiter | None = None) -> T:
    """Run blocking work outside the event loop."""
    return await anyio.to_thread.run_sync(function, limiter=limiter)
