"""A base planned part by part: what is on disk is not fetched again, and nothing of wrong content is reused."""

import json
import time

import pytest

from fetch.pieces import BASE, GGUF, base_repo, the_file
from hub.server import File, Repo
from whichlora.errors import UserError
from whichlora.fetch.digests import DigestBook
from whichlora.fetch.download import download
from whichlora.fetch.planning import Planner, Request, from_project, read_request
from whichlora.survey.hubclient import HubClient
from whichlora.survey.names import Reference
from whichlora.survey.places import FoundFile


def plan(hub, cache, tmp_path, transformer="bf16", found=()):
    planner = Planner(HubClient(), found, cache, DigestBook(tmp_path / "digests.json"))
    return planner.plan(Request((Reference(BASE),)), transformer)


def test_a_base_is_planned_part_by_part(hub, cache, tmp_path):
    hub.repos[BASE] = base_repo()
    result = plan(hub, cache, tmp_path)
    sizes = {part: sum(item.wanted.size_bytes for item in result.items if item.wanted.part == part)
             for part in ("transformer", "text_encoder", "vae")}
    assert sizes == {"transformer": 5_000_008, "text_encoder": 1_500_000, "vae": 200_000}
    files = [item.wanted.file for item in result.items]
    assert not any(name.endswith((".bin", ".png")) for name in files)
    assert len(files) == len(set(files)) == 9
    assert result.locations == (BASE,)


def test_a_transformer_in_comfyui_is_not_fetched_again(hub, cache, tmp_path):
    """By content: the user's GGUF under another name is found, a false one of the same name and size is not."""
    hub.repos[BASE] = base_repo()
    gguf = File(b"GGUF", 2_500_000)
    hub.repos[GGUF] = Repo(GGUF, {"Qwen-Image-Edit-2509-Q8_0.gguf": gguf})
    mine, false = tmp_path / "my transformer.gguf", tmp_path / "Qwen-Image-Edit-2509-Q8_0.gguf"
    mine.write_bytes(gguf.read(0, gguf.size))
    false.write_bytes(b"GGUX" + bytes(2_499_996))
    found = [FoundFile(path, 2_500_000, "ComfyUI", "diffusion_models") for path in (false, mine)]
    result = plan(hub, cache, tmp_path, found=found)
    choices = {choice.name: choice for choice in result.choices}
    assert choices["gguf-q8"].here == "ComfyUI"
    assert choices["gguf-q8"].missing_bytes < choices["bf16"].missing_bytes
    assert result.choices[0].name == "gguf-q8"
    chosen = plan(hub, cache, tmp_path, "gguf-q8", found)
    assert chosen.locations == (f"{BASE}::{mine}",)
    assert not any(item.wanted.file.startswith("transformer/w-") for item in chosen.items)
    assert any(item.wanted.file == "transformer/config.json" for item in chosen.items)
    own = plan(hub, cache, tmp_path, str(mine), ())
    assert own.locations == (f"{BASE}::{mine}",)
    assert own.missing_bytes == chosen.missing_bytes


def test_a_cached_file_of_the_right_size_and_wrong_content_is_not_reused(hub, cache, tmp_path):
    """The Hub's own client checks sizes only, so its cache is not believed."""
    wanted, client = the_file()
    path = download(wanted, cache, client)
    planner = Planner(client, (), cache, DigestBook(tmp_path / "d.json"))
    request = Request((Reference("a/one"),))
    assert planner.plan(request).missing_bytes == 0
    time.sleep(0.01)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.resolve().write_bytes(data)
    fresh = planner.plan(request)
    assert fresh.missing_bytes == wanted.size_bytes
    assert download(fresh.items[0].wanted, cache, client).read_bytes()[-1] == data[-1] ^ 1


def test_digests_are_remembered_until_the_file_changes(tmp_path):
    path, book = tmp_path / "f", DigestBook(tmp_path / "book.json")
    path.write_bytes(b"one")
    told: list[int] = []
    first = book.sha256(path, told.append)
    book.save()
    again = DigestBook(tmp_path / "book.json")
    assert again.sha256(path, told.append) == first
    assert told == [3]
    path.write_bytes(b"two!")
    assert again.sha256(path, told.append) != first
    (tmp_path / "book.json").write_text("{broken", encoding="utf-8")
    assert DigestBook(tmp_path / "book.json").sha256(path)


@pytest.mark.parametrize("text", ["nonsense", "a/b", "/nowhere/x.gguf"])
def test_a_transformer_that_is_none_is_a_sentence(hub, cache, tmp_path, text):
    hub.repos[BASE] = base_repo()
    with pytest.raises(UserError, match="no way to get a transformer"):
        plan(hub, cache, tmp_path, text)


def test_a_project_names_what_it_needs(tmp_path):
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras/here.safetensors").write_bytes(b"x")
    suite = {
        "schema": "whichlora.suite/1", "name": "p", "base": {"location": f"{BASE}::x.gguf"}, "must_have": ["camera"],
        "edits": [{"name": "e", "family": "camera", "prompt": "turn"}],
        "samplers": {"fast": {"loras": "l/Lightning:sub/4steps.safetensors:1.0"}},
        "candidates": [{"name": "c", "loras": "a/one:镜头 转换.safetensors:0.8 + here.safetensors:1.0"}],
    }
    (tmp_path / "whichlora.yaml").write_text(json.dumps(suite, ensure_ascii=False), encoding="utf-8")
    lightning = Reference("l/Lightning", "sub/4steps.safetensors")
    assert from_project(tmp_path) == [Reference(BASE), Reference("a/one", "镜头 转换.safetensors"), lightning]
    assert read_request([str(tmp_path)]).project == tmp_path
