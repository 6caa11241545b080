"""Fetching from a real Hub server: verified, resumed, reused, refused; nothing wrong ever gets a name."""

import errno
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.client import answer, environment, use, whichlora
from hub.server import COMMIT, File, Hub, Repo, lora_tensors, safetensors_header
from whichlora.errors import DiskFullError, HubError, RefusedError, UnknownNameError, UserError
from whichlora.fetch import cache as layout
from whichlora.fetch.cache import check_disk
from whichlora.fetch.digests import DigestBook
from whichlora.fetch.download import download
from whichlora.fetch.planning import Planner, Request, from_project, read_request
from whichlora.fetch.reuse import partial_path
from whichlora.fetch.wanted import list_repository, lora_file
from whichlora.survey.hubclient import HubClient
from whichlora.survey.names import Reference, local_name, parse_reference
from whichlora.survey.places import FoundFile

BASE = "Qwen/Qwen-Image-Edit-2509"
GGUF = "QuantStack/Qwen-Image-Edit-2509-GGUF"


def lora(blocks=2, rank=16) -> File:
    head, size = safetensors_header(lora_tensors(rank, blocks=blocks))
    return File(head, size)


def base_repo() -> Repo:
    return Repo(BASE, {
        "model_index.json": File(b'{"a": 1}', lfs=False), "transformer/config.json": File(b"{}", lfs=False),
        "transformer/w-00001-of-00002.safetensors": File(b"t1", 3_000_000),
        "transformer/w-00002-of-00002.safetensors": File(b"t2", 2_000_000),
        "transformer/w.safetensors.index.json": File(b'{"i": 1}', lfs=False),
        "text_encoder/model.safetensors": File(b"te", 1_500_000), "text_encoder/config.json": File(b"[]", lfs=False),
        "vae/v.safetensors": File(b"v", 200_000), "tokenizer/vocab.json": File("{\"é\": 1}".encode(), lfs=False),
        "unwanted/pickle.bin": File(b"x", 9_000_000), "transformer/old.bin": File(b"x", 9_000_000),
        "picture.png": File(b"x", 10),
    })


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with Hub([Repo("a/one", {"镜头 转换.safetensors": lora()})]) as server:
        use(server, tmp_path, monkeypatch)
        yield server


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hf" / "hub"


def the_file(repo="a/one"):
    client = HubClient(timeout_s=2)
    reference = Reference(repo)
    return lora_file(reference, list_repository(reference, client)), client


def names_in(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts)


def test_a_file_arrives_verified_where_the_client_finds_it(hub, cache):
    wanted, client = the_file()
    path = download(wanted, cache, client)
    assert path.stat().st_size == wanted.size_bytes
    from huggingface_hub import try_to_load_from_cache

    assert try_to_load_from_cache("a/one", wanted.file, cache_dir=cache) == str(path)
    assert try_to_load_from_cache("a/one", wanted.file, cache_dir=cache, revision=COMMIT) == str(path)


@pytest.mark.parametrize("cuts", [[100_000], [0, 1, 2, 300_000], [1_500_000, 0, 0, 0]])
def test_a_cut_download_goes_on_where_it_was(hub, cache, cuts):
    hub.cut_after["转换.safetensors"] = list(cuts)
    wanted, client = the_file()
    path = download(wanted, cache, client)
    assert path.stat().st_size == wanted.size_bytes
    assert hub.bytes_of("转换.safetensors") <= wanted.size_bytes + 65_536 * len(cuts)
    ranges = [span for method, url, span, _ in hub.log if "resolve" in url]
    assert any(span.startswith("bytes=") for span in ranges)


def test_a_dead_connection_stops_with_a_sentence_and_a_later_call_goes_on(hub, cache):
    hub.cut_after["转换.safetensors"] = [900_000, *[0] * 10]
    wanted, client = the_file()
    with pytest.raises(HubError, match=r"stopped at \d+ %") as caught:
        download(wanted, cache, client)
    assert "goes on from there" in caught.value.fix
    kept = partial_path(cache, wanted).stat().st_size
    assert 0 < kept <= 900_000
    hub.cut_after.clear()
    before = hub.bytes_of("转换.safetensors")
    download(wanted, cache, client)
    assert hub.bytes_of("转换.safetensors") - before == wanted.size_bytes - kept


def test_a_wrong_hash_is_refused_and_removed(hub, cache):
    hub.corrupt.add("转换.safetensors")
    wanted, client = the_file()
    with pytest.raises(RefusedError, match="refused and removed"):
        download(wanted, cache, client)
    assert names_in(cache) == []
    hub.corrupt.clear()
    assert download(wanted, cache, client).is_file()


def test_a_resumed_file_of_two_versions_is_refused(hub, cache):
    """The half that lies here is of another content: sizes agree, the hash does not."""
    wanted, client = the_file()
    part = partial_path(cache, wanted)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\x07" * 500_000)
    with pytest.raises(RefusedError, match="refused and removed"):
        download(wanted, cache, client)
    assert names_in(cache) == []


def test_small_files_are_verified_by_gits_hash(hub, cache):
    hub.repos["a/conf"] = Repo("a/conf", {"c.safetensors": File(b"{}", lfs=False)})
    wanted, client = the_file("a/conf")
    assert wanted.sha256 is None
    assert download(wanted, cache, client).read_bytes() == b"{}"
    hub.repos["a/bad"] = Repo("a/bad", {"bad.safetensors": File(b"[]", lfs=False)})
    hub.corrupt.add("bad.safetensors")
    wanted, client = the_file("a/bad")
    with pytest.raises(RefusedError):
        download(wanted, cache, client)


def test_a_server_that_sends_another_size_is_refused_at_once(hub, cache):
    wanted, client = the_file()
    hub.repos["a/one"].files["镜头 转换.safetensors"] = lora(blocks=3)
    with pytest.raises(RefusedError, match="metadata say"):
        download(wanted, cache, client)
    assert names_in(cache) == []


def test_a_server_without_ranges_starts_over(hub, cache):
    wanted, client = the_file()
    part = partial_path(cache, wanted)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\x07" * 500_000)
    hub.ignore_ranges = True
    assert download(wanted, cache, client).stat().st_size == wanted.size_bytes


def test_a_silent_server_is_given_up_within_its_time(hub, cache):
    wanted, _ = the_file()
    hub.silent.add("转换.safetensors")
    start = time.monotonic()
    with pytest.raises(HubError, match="stopped at 0 %"):
        download(wanted, cache, HubClient(timeout_s=0.2))
    assert time.monotonic() - start < 15


def test_a_rate_limit_in_the_middle_is_waited_out(hub, cache):
    wanted, client = the_file()
    hub.cut_after["转换.safetensors"] = [200_000]
    hub.rate_limits = [{"Retry-After": "0"}]
    assert download(wanted, cache, client).stat().st_size == wanted.size_bytes
    hub.rate_limits = [{"Retry-After": "4000"}] * 9
    path = cache / "again"
    with pytest.raises(HubError, match="asks to wait 4001 s"):
        download(wanted, path, client)


def test_a_slow_server_is_borne(hub, cache):
    hub.delay_s = 0.05
    wanted, _ = the_file()
    assert download(wanted, cache, HubClient(timeout_s=0.5)).is_file()


def test_a_full_disk_keeps_what_arrived(hub, cache, monkeypatch):
    wanted, client = the_file()
    original = Path.open

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 400_000

        def write(self, data):
            if len(data) > self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= len(data)
            return self.file.write(data)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *details):
            return self.file.__exit__(*details)

    def opened(self, mode="r", *args, **kwargs):
        file = original(self, mode, *args, **kwargs)
        return Full(file) if mode == "ab" else file

    monkeypatch.setattr(Path, "open", opened)
    hub.cut_after["转换.safetensors"] = [300_000]
    with pytest.raises(DiskFullError, match="disk is full"):
        download(wanted, cache, client)
    assert partial_path(cache, wanted).is_file()
    monkeypatch.setattr(Path, "open", original)
    assert download(wanted, cache, client).stat().st_size == wanted.size_bytes


def test_the_preflight_asks_for_half_as_much_again(tmp_path, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 0, 149))
    with pytest.raises(DiskFullError):
        check_disk(tmp_path / "not" / "there", 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 0, 150))
    assert check_disk(tmp_path, 100) == (150, 150)


def test_two_processes_fetch_a_file_once(hub, cache, tmp_path):
    hub.delay_s = 0.02
    wanted, client = the_file()
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(download(wanted, cache, client))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert paths[0].stat().st_size == wanted.size_bytes


def test_files_of_one_repository_arrive_side_by_side(hub, cache):
    """Sixteen at once, some with the same content: none trips over another's reference or blob."""
    files = {f"part{index}.safetensors": File(bytes([index % 4]) * 1000) for index in range(16)}
    hub.repos["a/many"] = Repo("a/many", files)
    client = HubClient()
    listing = list_repository(Reference("a/many"), client)
    for _ in range(3):
        with ThreadPoolExecutor(16) as pool:
            wanted = [lora_file(Reference("a/many", name), listing) for name in files]
            paths = list(pool.map(lambda each: download(each, cache, client), wanted))
        assert [path.read_bytes() for path in paths] == [file.head for file in files.values()]
        for path in paths:
            path.unlink()


def test_without_links_the_file_lies_there_once(hub, cache, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    wanted, client = the_file()
    path = download(wanted, cache, client)
    assert not path.is_symlink()
    assert len([name for name in names_in(cache) if name != "main"]) == 1
    from huggingface_hub import try_to_load_from_cache

    assert try_to_load_from_cache("a/one", wanted.file, cache_dir=cache) == str(path)


# ------------------------------------------------------------------ which files


@pytest.mark.parametrize(("text", "expected"), [
    ("a/b", Reference("a/b")), ("a/b:镜头 转换.safetensors", Reference("a/b", "镜头 转换.safetensors")),
    ("a/b@v1.0:sub/x.safetensors", Reference("a/b", "sub/x.safetensors", "v1.0")), ("a", None), ("a/b/c", None),
    ("https://x/y", None), ("", None),
])
def test_references(text, expected):
    assert parse_reference(text) == expected


def test_several_weight_files_need_a_choice(hub):
    hub.repos["a/two"] = Repo("a/two", {"x.safetensors": lora(), "y.safetensors": lora(3)})
    with pytest.raises(UserError, match=r"(?s)2 weight files.*a/two:x\.safetensors.*a/two:y\.safetensors"):
        the_file("a/two")
    reference = Reference("a/two", "z.safetensors")
    with pytest.raises(UnknownNameError, match=r"x\.safetensors"):
        lora_file(reference, list_repository(reference, HubClient()))


def test_a_repository_of_pickles_is_refused(hub):
    hub.repos["a/pickle"] = Repo("a/pickle", {"w.bin": File(b"x", 10**6)})
    with pytest.raises(UserError, match=r"no \.safetensors"):
        the_file("a/pickle")


def test_names_are_matched_in_any_unicode_form(hub):
    import unicodedata

    name = unicodedata.normalize("NFD", "Éclairage-é.safetensors")
    hub.repos["a/nfd"] = Repo("a/nfd", {name: lora(), "other.safetensors": lora(3)})
    reference = Reference("a/nfd", unicodedata.normalize("NFC", name))
    assert lora_file(reference, list_repository(reference, HubClient())).file == name


@pytest.mark.parametrize(
    "name", ["../../evil.safetensors", "/etc/x.safetensors", "a\\..\\b.safetensors", "C:x.safetensors"]
)
def test_paths_that_leave_the_cache_do_not_exist(hub, name):
    hub.repos["a/evil"] = Repo("a/evil", {name: lora()})
    with pytest.raises(UserError):
        the_file("a/evil")


def test_local_names_are_ascii_and_never_shared():
    files = ["镜头转换.safetensors", "移除光影.safetensors", "a b.safetensors", "a-b.safetensors", "x/a-b.safetensors",
             "w.gguf", "参考色调.safetensors", "A.safetensors"]
    names = [local_name("o/r", file) for file in files]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and " " not in name and "/" not in name for name in names)
    assert names[-3].endswith(".gguf")


# ------------------------------------------------------------------ a base, part by part


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


# ------------------------------------------------------------------ the command line


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
