"""Only our own page gets through: forged hosts, origins, tokens and ids are refused, and every answer is armoured."""

import random
import socket

import pytest

from review import planted
from web.serving import running
from whichlora.errors import MachineError
from whichlora.web.guard import Sessions
from whichlora.web.serve import open_socket


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard") / "p"
    planted.make_project(folder, planted.make_plan(photos=2, edits=2, seeds=(1,)))
    with running(folder) as found:
        yield found


def status(port, lines, body=b""):
    """Send a raw request, with nothing added by a client library."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""])
                           .encode("latin-1", "replace") + body)
        answer = b""
        while b"\r\n" not in answer:
            part = connection.recv(4096)
            if not part:
                break
            answer += part
        return int(answer.split(b" ")[1])


def cookie(server):
    client = server.client()
    [(name, value)] = client.cookies.items()
    return f"Cookie: {name}={value}"


READS = ["/api/state?rater=a", "/api/pair?rater=a&question=identity", "/api/matrix", "/api/pulse", "/api/cell?at=0",
         "/api/block?rows=candidate&columns=case&fixed=0&r0=0&r1=2&c0=0&c1=2", "/api/rating?rater=a",
         "/api/lineup?rater=a", "/image/AAAAAAAAAAAAAAAAAAAAAA", "/api/found?label=passed+everything"]
WRITES = ["/api/vote", "/api/undo", "/api/rate", "/api/pick", "/api/pass", "/api/invite"]


def forgeries(server):
    """Requests that are right in everything but one thing."""
    port, good = server.port, cookie(server)
    host, origin = f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}"
    json = "Content-Type: application/json"
    hosts = ["evil.example", f"evil.example:{port}", "localhost", f"localhost:{port}", f"127.0.0.1:{port + 1}",
             "127.0.0.1", f"[::1]:{port}", f"127.0.0.1:{port}.evil.example", f"127.0.0.1:{port}@evil.example", "",
             f"0.0.0.0:{port}", f"127.1:{port}", f"127.0.0.1:0{port}", f"evil.127.0.0.1:{port}", f"127.0.0.1.:{port}"]
    origins = ["null", "http://evil.example", f"https://127.0.0.1:{port}", f"http://localhost:{port}",
               f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1:{port}.evil.example", "http://127.0.0.1", "file://",
               f"http://127.0.0.1:{port}/", f"HTTP://127.0.0.1:{port}", f"http://evil@127.0.0.1:{port}"]
    for path in READS:
        for bad in hosts:
            yield [f"GET {path} HTTP/1.1", f"Host: {bad}", good], b""
        for bad in origins:
            yield [f"GET {path} HTTP/1.1", host, f"Origin: {bad}", good], b""
        yield [f"GET {path} HTTP/1.1", host, "Sec-Fetch-Site: cross-site", good], b""
        yield [f"GET {path} HTTP/1.1", host, "Sec-Fetch-Site: same-site", good], b""
        yield [f"GET {path} HTTP/1.1", host], b""
        yield [f"GET {path} HTTP/1.1", host, f"Cookie: whichlora_{port}=forged"], b""
        yield [f"GET {path} HTTP/1.1", host, host.replace("127", "128"), good], b""
    for path in WRITES:
        for bad in hosts:
            yield [f"POST {path} HTTP/1.1", f"Host: {bad}", origin, json, good], b"{}"
        for bad in origins:
            yield [f"POST {path} HTTP/1.1", host, f"Origin: {bad}", json, good], b"{}"
        yield [f"POST {path} HTTP/1.1", host, json, good], b"{}"  # no Origin at all
        yield [f"POST {path} HTTP/1.1", host, origin, json], b"{}"
        yield [f"POST {path} HTTP/1.1", host, origin, "Content-Type: text/plain", good], b"{}"
        yield [f"POST {path} HTTP/1.1", host, origin, "Content-Type: application/x-www-form-urlencoded", good], b"a=1"
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            yield [f"{method} {path} HTTP/1.1", host, origin, json, good], b"{}"
    rng = random.Random(0)
    for _ in range(40):
        token = "".join(rng.choice("abcdefABCDEF0123456789_-") for _ in range(32))
        yield ["POST /api/session HTTP/1.1", host, origin, json], f'{{"token": "{token}"}}'.encode()
    for _ in range(30):
        value = "".join(rng.choice("abcdefABCDEF0123456789_-") for _ in range(43))
        yield [f"GET {rng.choice(READS)} HTTP/1.1", host, f"Cookie: whichlora_{port}={value}"], b""


def test_five_hundred_forged_requests_get_403(server):
    seen = [(status(server.port, lines, body), lines) for lines, body in forgeries(server)]
    assert len(seen) >= 500
    # An empty or doubled Host never reaches the app: the HTTP layer itself answers 400.
    wrong = [(code, lines) for code, lines in seen if code != 403 and not (code == 400 and not _one_host(lines))]
    assert wrong == []


def _one_host(lines):
    hosts = [line for line in lines if line.lower().startswith("host:")]
    return len(hosts) == 1 and hosts[0].strip().lower() != "host:"


def test_the_same_requests_unforged_pass(server):
    client = server.client()
    for path in READS:
        assert client.get(path).status_code == (404 if path.startswith("/image") else 200), path
    assert client.post("/api/invite", json={}).status_code == 200


def test_a_token_is_good_for_one_exchange(server):
    client, token = server.client(token=False), server.sessions.new_token()
    assert client.post("/api/session", json={"token": token}).status_code == 200
    assert server.client(token=False).post("/api/session", json={"token": token}).status_code == 403


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(server):
    answer = server.client(token=False).post("/api/session", json={"token": server.sessions.new_token()})
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said


def test_an_invitation_opens_another_browser(server):
    link = server.client().post("/api/invite", json={}).json()["link"]
    other = server.client(token=False)
    assert other.post("/api/session", json={"token": link.split("#t=")[1]}).status_code == 200


def test_picture_ids_belong_to_one_session(server):
    first, second = server.client(), server.client()
    url = first.get("/api/pair?rater=a&question=identity").json()["task"]["pictures"][0]["url"]
    assert first.get(url).status_code == 200
    assert second.get(url).status_code == 404


@pytest.mark.parametrize("path", ["/", "/static/common.js", "/api/state", "/image/x", "/nowhere", "/api/session"])
def test_every_answer_is_armoured(server, path):
    headers = server.client().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy.replace("'self'", "")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", [
    "/static/../app.py", "/static/..%2f..%2fetc%2fpasswd", "/static/%2e%2e/app.py", "/image/../../store.sqlite",
    "/image/..%2f..%2fstore.sqlite", "/images/", "/store.sqlite", "/static/store.sqlite", "/static/",
    "/refs/photo-0.png",
])
def test_no_path_of_a_request_reaches_the_disk(server, path):
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", cookie(server)]
    assert status(server.port, lines) in (403, 404)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'"x"', b"{" * 5000, b"\xff\xfe", b'{"rater": 7}',
                                  b'{"rater": "a", "task": {}, "answer": "left"}', b'{"a": "' + b"x" * 70000 + b'"}'])
@pytest.mark.parametrize("path", ["/api/vote", "/api/rate", "/api/pick", "/api/undo"])
def test_nonsense_gets_a_sentence_and_no_traceback(server, path, body):
    answer = server.client().post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("query", ["at=-1", "at=99999", "at=x", "at=1e9", ""])
def test_cells_that_do_not_exist_get_a_sentence(server, query):
    answer = server.client().get(f"/api/cell?{query}")
    assert answer.status_code == (200 if query == "" else 400)


def test_a_block_is_bounded(server):
    answer = server.client().get("/api/block?rows=candidate&columns=case&fixed=0&r0=0&r1=99999999&c0=0&c1=99999999")
    assert len(answer.json().get("cells", [])) <= 600


def test_the_server_listens_on_this_machine_only():
    with open_socket(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        with pytest.raises(MachineError, match="cannot be used"):
            open_socket(listener.getsockname()[1])


def test_answers_are_not_held_back(server):
    import time

    client, times = server.client(), []
    for _ in range(40):
        began = time.perf_counter()
        client.get("/static/icon.svg")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.03  # Nagle's algorithm against delayed acknowledgements would make all of them 40 ms


def test_old_sessions_give_way():
    sessions = Sessions(1)
    values = [sessions.exchange(sessions.new_token()) for _ in range(80)]
    assert sessions.find(values[0]) is None
    assert sessions.find(values[-1]) is not None
    assert sessions.find("") is None
