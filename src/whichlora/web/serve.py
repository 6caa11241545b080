"""Opens the port, on 127.0.0.1 only, and serves until stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from whichlora.errors import MachineError
from whichlora.types import Plan
from whichlora.web.app import build_app
from whichlora.web.guard import Sessions


def open_socket(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1.

    Args:
        port: 0 lets the system choose.

    Raises:
        MachineError: The port is taken.
    """
    # asyncio turns Nagle's delay of 40 ms an answer off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise MachineError(f"Port {port} of this machine cannot be used: {getattr(error, 'strerror', None) or error}.",
                           fix="Leave --port out, or name another one.") from error
    return listener


def serve(folder: Path, plan: Plan, port: int, ready: Callable[[str, Sessions], None]) -> None:
    """Serve a project until Ctrl-C.

    Args:
        folder: The project folder.
        plan: Its newest plan.
        port: 0 lets the system choose.
        ready: Called with the link to open once the port is open.
    """
    listener = open_socket(port)
    try:
        sessions = Sessions(listener.getsockname()[1])
        app = build_app(folder, plan, sessions)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", server_header=False,
                                h11_max_incomplete_event_size=32 * 1024, timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        ready(sessions.link(), sessions)
        with suppress(KeyboardInterrupt):  # Ctrl-C is how this ends; uvicorn raises it again after it has shut down
            server.run(sockets=[listener])
    finally:
        listener.close()
