"""Fetching from a real Hub server: verified, resumed, reused, refused; nothing wrong ever gets a name."""

import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fetch.pieces import lora, names_in, the_file
from hub.server import COMMIT, File, Repo
from whichlora.errors import DiskFullError, HubError, RefusedError, UnknownNameError, UserError
from whichlora.fetch.cache import check_disk
from whichlora.fetch.download import download
from whichlora.fetch.reuse import partial_path
from whichlora.fetch.wanted import list_repository, lora_file
from whichlora.survey.hubclient import HubClient
from whichlora.survey.names import Reference, local_name, parse_reference


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
    with pytest.raises(HubError, match=r"stopped at \d+%") as caught:
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
    with pytest.raises(HubError, match="stopped at 0%"):
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
