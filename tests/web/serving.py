"""Runs the review server in a thread of the test, on a free port."""

import threading
import time
from contextlib import contextmanager

import uvicorn

from whichlora.plan.codec import plan_from_json
from whichlora.store import Store
from whichlora.web.app import build_app
from whichlora.web.guard import Sessions
from whichlora.web.serve import open_socket


class Running:
    def __init__(self, sessions):
        self.sessions = sessions
        self.port = sessions.port
        self.origin = f"http://127.0.0.1:{self.port}"

    def link(self):
        return self.sessions.link()

    def client(self, token=True):
        """An HTTP client that behaves like the page; with a session unless told otherwise."""
        import httpx

        client = httpx.Client(base_url=self.origin, headers={"Origin": self.origin})
        if token:
            answer = client.post("/api/session", json={"token": self.sessions.new_token()})
            assert answer.status_code == 200, answer.text
        return client


@contextmanager
def running(folder):
    with Store(folder) as store:
        plan = plan_from_json(store.document("plan"))
    listener = open_socket(0)
    sessions = Sessions(listener.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(build_app(folder, plan, sessions), log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server ended before it began"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    try:
        yield Running(sessions)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
