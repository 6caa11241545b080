"""`whichlora fetch` by the command line: whole, refused, killed and gone on with."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fetch.pieces import BASE, base_repo, lora, names_in, the_file
from hub.client import answer, environment, whichlora
from hub.server import Hub, Repo
from whichlora.errors import UserError
from whichlora.fetch import cache as layout
from whichlora.fetch.download import download
from whichlora.fetch.planning import read_request
from whichlora.survey.names import Reference, local_name


def test_the_command_line_end_to_end(tmp_path):
    with Hub([Repo("a/one", {"镜头 转换.safetensors": lora()}), base_repo()]) as hub:
        hub.renamed["old/one"] = "a/one"
        env = environment(hub, tmp_path)
        dry = answer(whichlora(["fetch", "a/one", "--dry-run", "--json"], env, tmp_path))
        size = hub.repos["a/one"].files["镜头 转换.safetensors"].size
        assert (dry["missing_bytes"], dry["needed_free_bytes"], dry["dry_run"]) == (size, int(size * 1.5), True)
        assert hub.bytes_of("转换.safetensors") == 0
        assert not (tmp_path / "hf" / "hub" / "models--a--one").exists()
        done = whichlora(["fetch", "old/one", BASE, "--into", "loras", "--json"], env, tmp_path)
        document = answer(done)
        assert done.returncode == 0, done.stderr
        assert any("renamed" in note for note in document["notes"])
        linked = [item["linked"] for item in document["items"] if item["linked"]]
        assert [Path(path).name.isascii() for path in linked] == [True]
        assert document["base_locations"] == [BASE]
        before = len(hub.log)
        again = answer(whichlora(["fetch", "a/one", BASE, "--json"], env, tmp_path))
        assert again["missing_bytes"] == 0
        assert not any("/resolve/" in path for _, path, _, _ in hub.log[before:])
        code = f"from huggingface_hub import snapshot_download as s; print(s({BASE!r}, local_files_only=True))"
        client = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
        assert client.returncode == 0, client.stderr
        assert (Path(client.stdout.strip()) / "vae" / "v.safetensors").stat().st_size == 200_000


@pytest.mark.parametrize(("repo", "words", "status"), [
    (Repo("a/x", {"w.safetensors": lora()}, gated=True), "gated", 2),
    (Repo("a/x", {"w.safetensors": lora()}, private=True), "not found", 2), (None, "not found", 2),
])
def test_closed_repositories_by_the_command_line(tmp_path, repo, words, status):
    with Hub([repo] if repo else []) as hub:
        env = environment(hub, tmp_path, HF_TOKEN="hf_topsecret")
        done = whichlora(["fetch", "a/x", "--json"], env, tmp_path)
        assert (done.returncode, words in done.stderr, done.stdout) == (status, True, "")
        assert "topsecret" not in done.stderr
        assert "Traceback" not in done.stderr
        hub.tokens.add("hf_topsecret")
        if repo:
            assert whichlora(["fetch", "a/x", "--json"], env, tmp_path).returncode == 0


def test_a_wrong_hash_by_the_command_line_leaves_nothing(tmp_path):
    with Hub([Repo("a/one", {"w.safetensors": lora()})]) as hub:
        hub.corrupt.add("w.safetensors")
        done = whichlora(["fetch", "a/one", "--into", "loras"], environment(hub, tmp_path), tmp_path)
        assert done.returncode == 1
        assert "refused and removed" in done.stderr
        assert not (tmp_path / "loras").exists()
        assert names_in(tmp_path / "hf" / "hub") == []


@pytest.mark.parametrize("arguments", [["fetch", "not a thing"], ["fetch", "nothing.json"]])
def test_nonsense_is_a_sentence(tmp_path, arguments):
    done = whichlora(arguments, environment("http://127.0.0.1:9", tmp_path), tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_killed_in_the_middle_goes_on(tmp_path):
    """kill -9 while a file arrives; the next call fetches only the rest."""
    with Hub([Repo("a/one", {"w.safetensors": lora(blocks=8)})]) as hub:
        hub.delay_s = 0.08
        env = environment(hub, tmp_path)
        process = subprocess.Popen(
            [sys.executable, "-m", "whichlora.cli.main", "fetch", "a/one"], env=env, cwd=tmp_path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        blobs = layout.repo_folder(tmp_path / "hf" / "hub", "a/one") / "blobs"
        while time.monotonic() < deadline:
            if blobs.is_dir() and any(path.stat().st_size > 2_000_000 for path in blobs.iterdir()):
                break
            time.sleep(0.02)
        process.kill()
        process.wait()
        kept = next(path for path in blobs.iterdir() if path.name.endswith(".incomplete")).stat().st_size
        assert kept >= 2_000_000
        hub.delay_s = 0
        done = whichlora(["fetch", "a/one", "--json"], env, tmp_path)
        assert done.returncode == 0, done.stderr
        size = hub.repos["a/one"].files["w.safetensors"].size
        second = [sent for _, _, span, sent in hub.log if span == f"bytes={kept}-"]
        assert second == [size - kept]
        assert Path(answer(done)["items"][0]["path"]).stat().st_size == size


def test_what_fetch_puts_into_a_project_is_what_plan_finds(hub, cache, tmp_path):
    """A suite may name a LoRA as OWNER/NAME:FILE; plan looks for it under the name that fetch gives it."""
    from whichlora.errors import UserError as Missing
    from whichlora.plan.candidates import LoraFolder, parse_stack

    folder = LoraFolder((tmp_path / "loras",))
    text = "a/one:镜头 转换.safetensors:0.8"
    with pytest.raises(Missing, match="not found") as caught:
        parse_stack(text, folder)
    assert "whichlora fetch" in caught.value.fix
    wanted, client = the_file()
    layout.link_into(tmp_path / "loras", download(wanted, cache, client), local_name("a/one", wanted.file))
    (use,) = parse_stack(text, folder)
    assert (use.weight, use.sha256) == (0.8, wanted.sha256)


def test_a_saved_survey_is_fetched_by_its_must_list(hub, tmp_path):
    entries = [
        {"repo_id": "a/one", "file": "镜头 转换.safetensors", "list": "must"},
        {"repo_id": "a/two", "file": None, "list": "must"}, {"repo_id": "a/three", "file": "x", "list": "skip"},
    ]
    saved = tmp_path / "survey.json"
    saved.write_text(json.dumps({"schema": "whichlora.survey/1", "entries": entries}), encoding="utf-8")
    request = read_request([str(saved)])
    assert request.references == (Reference("a/one", "镜头 转换.safetensors"),)
    assert "a/two" in request.notes[0]
    saved.write_text('{"schema": "another/1", "entries": []}', encoding="utf-8")
    with pytest.raises(UserError, match="not a saved survey"):
        read_request([str(saved)])
