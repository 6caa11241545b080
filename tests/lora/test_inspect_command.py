"""`whichlora inspect` as a user calls it: files, the Hub, JSON, exit status, and nothing wider than 100 columns."""

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest
from rich.cells import cell_len

from lora import factory, sabotage
from whichlora.cli.inspect import WIDTH, examine, lines, to_document
from whichlora.cli.main import main

FIELDS = {"schema", "layout", "rank", "alpha", "target_modules", "base", "loads", "reason"}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model" / "transformer"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(factory.TINY), encoding="utf-8")
    return folder.parent


@pytest.fixture
def good(tmp_path):
    return factory.write(
        tmp_path / "我的 lora.safetensors", sabotage.sound("kohya"),
        {"modelspec.architecture": "Qwen-Image-Edit-Plus/lora"},
    )


def call(capsys, *words):
    """(exit status, stdout, stderr) of the command."""
    status = 0
    try:
        main(["inspect", *map(str, words)])
    except SystemExit as stop:
        status = stop.code or 0
    out, err = capsys.readouterr()
    return status, out, err


def test_json_of_a_sound_file(capsys, good, model):
    status, out, _ = call(capsys, good, "--model", model, "--json")
    document = json.loads(out)
    assert status == 0
    assert document.keys() >= FIELDS
    assert document["schema"] == "whichlora.inspect/1"
    assert (document["layout"], document["rank"], document["alpha"], document["loads"]) == ("kohya", 4, 2.0, True)
    assert set(document["target_modules"]) == set(factory.BLOCK)
    assert document["base"]["id"] == "Qwen/Qwen-Image-Edit-2509"
    assert document["base"]["evidence"]
    assert document["reason"] == ""
    assert document["scales"] == [0.5]
    assert len(document["sha256"]) == 64
    assert document["bytes_read"] >= document["size_bytes"]


def test_header_only_reads_the_header(capsys, good):
    _, out, _ = call(capsys, good, "--header-only", "--json")
    document = json.loads(out)
    assert document["loads"]
    assert document["bytes_read"] < document["size_bytes"] / 3
    assert document["sha256"] is None


@pytest.mark.parametrize("name", ["one NaN", "full model", "web page", "FLUX.2", "blocks deeper than the model",
                                  "control characters in a name", "truncated in the data"])
def test_a_refused_file_leaves_with_1_and_the_same_fields(capsys, tmp_path, model, name):
    word, build = sabotage.CASES[name]
    path = build(tmp_path)
    status, out, _ = call(capsys, path, "--model", model, "--json")
    document = json.loads(out)
    assert status == 1
    assert document.keys() >= FIELDS
    assert document["loads"] is False
    assert word in document["reason"]
    status, out, _ = call(capsys, path, "--model", model)
    assert status == 1
    assert "would not load" in out
    assert word in " ".join(out.split())


def test_text_fits_100_columns_and_holds_no_control_characters(tmp_path):
    hostile = {"modelspec.title": "\x1b[2J" + "long " * 200, "ss_output_name": "[bold]x[/]" * 50}
    for name in ("n" * 180, "移除光影" * 15):
        path = factory.write(tmp_path / f"{name}.safetensors", sabotage.sound("kohya"), hostile)
        for width in (100, 60):
            shown = lines(examine(str(path)), width)
            assert all(cell_len(line) <= width for line in shown)
            assert all(line.isprintable() for line in shown)
            # Nothing is lost by wrapping, not even of a name without spaces.
            assert name in "".join("".join(shown).split())


def test_markup_in_foreign_text_is_shown_as_it_is(capsys, tmp_path):
    path = factory.write(tmp_path / "a.safetensors", sabotage.sound("kohya"), {"ss_output_name": "[red]x[/red] [/"})
    status, out, _ = call(capsys, path)
    assert status == 0
    assert "[red]x[/red] [/" in out


def test_another_base_is_noted_not_refused(capsys, good):
    status, out, _ = call(capsys, good, "--base", "Qwen/Qwen-Image-Edit-2511", "--json")
    assert status == 0
    assert any("2511" in note for note in json.loads(out)["notes"])
    status, out, _ = call(capsys, good, "--base", "black-forest-labs/FLUX.1-dev", "--json")
    assert status == 1
    assert "not made for black-forest-labs/FLUX.1-dev" in json.loads(out)["reason"]
    _, out, _ = call(capsys, good, "--base", "Qwen/Qwen-Image-Edit-2509", "--json")
    assert json.loads(out)["notes"] == []


def test_wrong_input_leaves_with_2(capsys, tmp_path, good):
    for words in (["nothing.safetensors"], [str(tmp_path)], [str(good), "--model", str(tmp_path / "none")],
                  ["folder/nothing.safetensors"]):
        status, out, err = call(capsys, *words)
        assert status == 2, words
        assert out == ""
        assert err.strip()


def test_every_verdict_makes_a_json_document(tmp_path):
    slow = {"a million empty tensors", "a LoRA of the true size, all zero"}
    for place, (name, (_, build)) in enumerate(sabotage.CASES.items()):
        if name in slow:
            continue
        folder = tmp_path / str(place)
        folder.mkdir()
        verdict = examine(str(build(folder)), model=None)
        json.dumps(to_document(verdict), allow_nan=False)
        assert all(cell_len(line) <= WIDTH for line in lines(verdict, 100))


def environment(**more):
    source = Path(__file__).parents[2] / "src"
    return {**os.environ, "PYTHONPATH": str(source), "PYTHONUTF8": "1", "NO_COLOR": "1", **more}


def test_torch_is_not_imported(good):
    code = (
        "import sys\nfrom whichlora.cli.main import main\n"
        f"try:\n    main(['inspect', {str(good)!r}])\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert not {'torch', 'diffusers', 'safetensors'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Hub(http.server.BaseHTTPRequestHandler):
    """Two repositories; counts the bytes of files that it sends."""

    files: ClassVar[dict] = {}
    sent = 0

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith("/api/models/"):
            repo = path.removeprefix("/api/models/")
            names = [name for name in self.files if name.startswith(repo + "/")]
            body = json.dumps({
                "id": repo, "siblings": [{"rfilename": name.removeprefix(repo + "/")} for name in names],
                "cardData": {"base_model": "Qwen/Qwen-Image-Edit-2509"},
            }).encode()
            return self.reply(200 if names else 404, body)
        repo, _, name = path.lstrip("/").partition("/resolve/main/")
        body = self.files[f"{repo}/{name}"]
        first, last = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = body[first : last + 1]
        Hub.sent += len(part)
        return self.reply(206, part, {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(body)}"})

    def reply(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def hub(tmp_path):
    targets = {key: size for key, size in factory.full_targets(40).items() if "attn" in key}
    big = factory.sparse(tmp_path / "big", factory.SPELLINGS["comfy"], targets, 1).read_bytes()
    flux = factory.write(tmp_path / "f", factory.plain(
        factory.Spelling("", "transformer."), {"single_transformer_blocks.0.attn.to_q": (30, 30)}, 2, None).tensors)
    Hub.files = {"who/one/lora.safetensors": big, "who/one/README.md": b"x", "who/two/a.safetensors": flux.read_bytes(),
                 "who/two/b.safetensors": b"<!DOCTYPE html>"}
    Hub.sent = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.mark.parametrize(("target", "status", "word"), [
    ("who/one", 0, "Qwen/Qwen-Image-Edit-2509"), ("who/one:lora.safetensors", 0, "comfy"),
    ("who/two:a.safetensors", 1, "FLUX.1"), ("who/two:b.safetensors", 1, "web page"), ("who/two", 2, "Name one"),
    ("who/none", 2, "who/none"),
])
def test_a_file_on_the_hub_by_its_header_alone(hub, target, status, word, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "whichlora.cli.main", "inspect", target, "--json"], capture_output=True, text=True,
        encoding="utf-8", check=False, cwd=tmp_path,
        env=environment(HF_ENDPOINT=hub, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path), HF_TOKEN=""),
    )
    assert done.returncode == status, done.stderr
    assert word in done.stdout + done.stderr
    if target.startswith("who/one"):
        assert json.loads(done.stdout)["checked"] == "header"
        assert Hub.sent < len(Hub.files["who/one/lora.safetensors"]) / 5
