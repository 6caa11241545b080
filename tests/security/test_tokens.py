"""A token goes to the Hub and nowhere else: no output, log, database, cache or report holds it, and no other host."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from families import painters
from hub import client
from hub.server import File, Hub, Repo, lora_tensors, safetensors_header
from whichlora.errors import UserError
from whichlora.suite.templating import render_suite

TOKEN = "hf_PlantedTokenThatMustNotBeSeen0123456789"


def holders(folder, *texts):
    """Files and texts that hold the token, or most of it."""
    part = TOKEN[3:30].encode()
    found = [str(path) for path in folder.rglob("*") if path.is_file() and part in path.read_bytes()]
    return found + [text[:200] for text in texts if part.decode() in text]


def lora(**facts):
    header, size = safetensors_header(lora_tensors(rank=2, blocks=2, width=64))
    return Repo("ada/style", {"style.safetensors": File(header, size)}, tags=[
        "base_model:Qwen/Qwen-Image-Edit-2509", "base_model:adapter:Qwen/Qwen-Image-Edit-2509", "lora"], **facts)


@pytest.fixture
def place(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    return home, work


@pytest.mark.parametrize("where", ["environment", "file"])
def test_the_token_reaches_the_hub_and_stays_out_of_everything_else(place, where):
    home, work = place
    extra = {"HF_TOKEN": TOKEN} if where == "environment" else {}
    if where == "file":
        (home / "hf").mkdir()
        (home / "hf" / "token").write_text(TOKEN, encoding="ascii")
    project = work / "project"
    (project / "refs").mkdir(parents=True)
    (project / "whichlora.yaml").write_text(render_suite(
        "figure", name="t", base={"location": "ada/style", "family": "painter"}, subject="other",
        sources={"count": 2}, candidates=[{"name": "a", "loras": "ada/style:style.safetensors"}]), encoding="utf-8")
    with Hub([lora(gated=True)]) as hub:
        hub.tokens = {TOKEN}
        env = client.environment(hub, home, **extra)
        said = []
        verbs = [
            ["survey", "--save", "survey.json", "--json"], ["fetch", "ada/style", "--into", "loras", "--json"],
            ["fetch", str(project)], ["run", str(project)],
        ]
        for words in verbs[: None if where == "environment" else 1]:
            done = client.whichlora(words, env, work)
            said += [done.stdout, done.stderr]
        assert TOKEN in hub.seen_tokens  # it was used, so the test sees something
        assert where == "file" or (work / "loras").is_dir()
    if where == "file":
        (home / "hf" / "token").unlink()
    assert holders(home, *said) == []
    assert holders(work) == []


@pytest.mark.parametrize("status", [401, 403])
def test_refusals_do_not_repeat_the_token(place, status):
    home, work = place
    with Hub([lora(private=True)]) as hub:
        hub.fail_status = [status] * 40
        done = client.whichlora(["fetch", "ada/style"], client.environment(hub, home, HF_TOKEN=TOKEN), work)
    assert done.returncode != 0
    assert holders(home, done.stdout, done.stderr) == []


def test_a_redirect_to_another_host_does_not_take_the_token_along(place):
    home, work = place
    seen = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            repo = lora()
            body = repo.files["style.safetensors"].read(0, repo.files["style.safetensors"].size)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Hub([lora()]) as hub:
            # Another name of the same machine is another host to a client.
            target = f"http://localhost:{server.server_address[1]}/store/style"
            handler = hub._server.RequestHandlerClass
            handler._send_file = lambda self, path, file, head: self._reply(302, b"", {"Location": target}, head)
            done = client.whichlora(["fetch", "ada/style", "--json"],
                                    client.environment(hub, home, HF_TOKEN=TOKEN, NO_PROXY="*", no_proxy="*"), work)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"][0]["state"] is not None
    assert seen
    assert not [headers for headers in seen if TOKEN in str(headers)]


@pytest.mark.parametrize("where", ["base", "lora", "key"])
def test_a_password_in_an_address_of_the_suite_is_not_repeated(place, where):
    home, work = place
    address = f"https://user:{TOKEN}@host.invalid/x"
    (work / "refs").mkdir()
    shutil.copy(Path(__file__).parents[1] / "data" / "portraits" / "president-smiling.jpg", work / "refs")
    location = address if where == "base" else str(painters.base(home / "painter", faces=False))
    text = render_suite(
        "figure", name="t", base={"location": location, "family": "painter"},
        subject="other", sources={"count": 1}, candidates=[{"name": "a", "loras": address}] if where == "lora" else [])
    if where == "key":
        text = text.replace("subject: other", f"subject: {address}")
        assert address in text
    (work / "whichlora.yaml").write_text(text, encoding="utf-8")
    with Hub([]) as hub:
        done = client.whichlora(["run", str(work)], client.environment(hub, home), work)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert (work / "whichlora.yaml").read_text(encoding="utf-8") == text
    (work / "whichlora.yaml").unlink()
    assert holders(work, said) == []
    assert where == "key" or "https://…@host.invalid/x" in said


@pytest.mark.parametrize(("text", "wanted"), [
    ("at 'https://u:p@h/x'.", "at 'https://…@h/x'."), ("git+ssh://token@h", "git+ssh://…@h"),
    ("https://h/@u and a@b", "https://h/@u and a@b"), ("ada/style@main", "ada/style@main"),
])
def test_only_passwords_of_addresses_are_left_out(text, wanted):
    error = UserError(text, fix=text)
    assert (error.message, error.fix, str(error)) == (wanted, wanted, f"{wanted} {wanted}")
