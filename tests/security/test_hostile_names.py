"""Wherever a stranger's name becomes a path, nothing is written outside its folder: every such place, each alone.

The places: the Hub's cache (repository, file, commit, revision), a project's loras/, photographs copied by init, the
store's pictures, the report's pictures, exports, a stored plan, and names in a suite.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hub import client
from hub.server import File, Hub, Repo
from security.hostile_names import KNOWN, names
from whichlora.cli.init import _copy
from whichlora.errors import PhotoError, ProjectError, RefusedError, WhichloraError
from whichlora.export.script import safe_name
from whichlora.fetch import cache
from whichlora.fetch.download import download
from whichlora.fetch.reuse import partial_path
from whichlora.fetch.wanted import Wanted, list_repository, lora_file
from whichlora.plan.codec import plan_from_json, plan_to_json
from whichlora.report.pictures import file_stem
from whichlora.store import Store
from whichlora.suite.loading import parse_suite
from whichlora.suite.templating import render_suite
from whichlora.survey.hubclient import HubClient
from whichlora.survey.names import Reference, is_reserved, is_sound_path, local_name, parse_reference
from whichlora.types import BaseModel, Plan, SourceImage

MANY = names(1200)


def inside(path, folder):
    """Whether a path, links not followed, lies in a folder."""
    return Path(os.path.normpath(path)).is_relative_to(folder)


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_paths_in_the_hubs_cache_stay_there(tmp_path):
    refused = 0
    for name in MANY:
        for repo in ("a/b", "x/" + name.replace("/", "") if name else "x/y"):
            wanted = Wanted(repo, name, "c" * 40, 1, "d" * 64, None, "lora")
            assert inside(partial_path(tmp_path, wanted), tmp_path) or "\\" in repo or "\0" in repo
        try:
            path = cache.snapshot_path(tmp_path, "a/b", "c" * 40, name)
        except RefusedError as error:
            refused += 1
            assert error.reason.isprintable()  # noqa: PT017 - the reason is what is tested
            continue
        assert inside(path, tmp_path / "models--a--b" / "snapshots" / ("c" * 40))
        assert path != tmp_path / "models--a--b" / "snapshots" / ("c" * 40)
    assert refused > len(MANY) // 3


def test_a_hostile_hub_puts_nothing_outside_the_cache(tmp_path, monkeypatch):
    files = {name: File(b"evil " + str(n).encode()) for n, name in enumerate(KNOWN) if "\ud800" not in name}
    files["good.safetensors"] = File(b"good")
    home = tmp_path / "home"
    home.mkdir()
    with Hub([Repo("a/b", files)]) as hub:
        client.use(hub, home, monkeypatch)
        hubs = HubClient()
        monkeypatch.setattr(hub.repos["a/b"], "info", lambda blobs, real=hub.repos["a/b"].info: {
            **real(blobs), "id": "../../../../outside/evil"})
        listing = list_repository(Reference("a/b"), hubs)
        assert listing.repo_id == "a/b"
        assert all(is_sound_path(name) for name in listing.files)
        folder = home / "hf" / "hub"
        wanted = lora_file(Reference("a/b", "good.safetensors"), listing)
        assert download(wanted, folder, hubs).read_bytes() == b"good"
        for name in files:
            hostile = replace(wanted, file=name, sha256=files[name].claimed(), size_bytes=files[name].size)
            if is_sound_path(name):
                continue
            with pytest.raises(WhichloraError):
                download(hostile, folder, hubs)
        for revision in KNOWN:
            if not is_sound_path(revision):
                with pytest.raises(RefusedError):
                    cache.name_revision(folder, "a/b", revision, "c" * 40)
    outside = {path for path in tree(tmp_path) if not path.startswith(("home", "home/hf/hub"))}
    assert outside == set()
    assert {path.split("/")[0] for path in tree(folder)} <= {"models--a--b", ".locks"}


def test_references_take_no_steps_upwards():
    for name in MANY:
        for text in (f"a/b@{name}:x.safetensors", f"a/b@{name}", name):
            found = parse_reference(text)
            if found is not None and found.revision is not None:
                assert is_sound_path(found.revision)
    assert parse_reference("a/b@refs/pr/3:x.safetensors") == Reference("a/b", "x.safetensors", "refs/pr/3")
    assert parse_reference("a/b@../../x:y.safetensors") is None


def test_loras_get_one_plain_name_each(tmp_path):
    source = tmp_path / "blob"
    source.write_bytes(b"x")
    folder = tmp_path / "project" / "loras"
    given = set()
    for name in MANY:
        text = name.encode("utf-8", "replace").decode()
        for repo, file in (("a/b", text), (text, "x.safetensors")):
            local = local_name(repo, file)
            assert "/" not in local
            assert local.isascii()
            assert local.isprintable()
            assert len(local) <= 200
            assert not is_reserved(local)
            assert not local.startswith(".")
            given.add((repo, local))
    for local in sorted(local for _, local in given)[::40]:
        cache.link_into(folder, source, local)
    assert {path.split("/")[0] for path in tree(tmp_path)} == {"blob", "project"}
    assert all(len(Path(path).parts) <= 3 for path in tree(tmp_path))


def test_photographs_are_copied_under_plain_names(tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    made = []
    for name in KNOWN:
        try:
            path = given / f"{name.replace('/', '_')}.png"
            path.write_bytes(b"x")
            made.append(path)
        except (OSError, ValueError):  # this system cannot even bear such a name
            continue
    assert len(made) > 30
    _copy(made, tmp_path / "refs")
    copies = list((tmp_path / "refs").iterdir())
    assert len(copies) == len(made)
    assert not [copy.name for copy in copies if is_reserved(copy.name) or copy.name.startswith(".")]
    assert {path.split("/")[0] for path in tree(tmp_path)} == {"given", "refs"}


def test_store_and_report_name_pictures_by_hash(tmp_path):
    with Store(tmp_path, create=True) as store:
        for name in MANY:
            with pytest.raises(ProjectError):
                store.images.path(name)
            stem = file_stem(name)
            assert len(stem) == 16
            assert set(stem) <= set("0123456789abcdef")
    assert {path.split("/")[0] for path in tree(tmp_path)} <= {"store.sqlite", "store.sqlite-wal", "store.sqlite-shm"}


def test_exported_names_are_plain():
    for name in MANY:
        plain = safe_name(name)
        assert plain.isascii()
        assert "/" not in plain
        assert plain.strip(".")


def test_a_strangers_project_cannot_point_out_of_its_folder():
    base = BaseModel("b", "painter", "x", "f")
    refused = 0
    for name in MANY:
        text = name.encode("utf-8", "replace").decode()
        item = SourceImage("s", text, "0" * 64, 1, 1)
        plan = Plan("p", base, (), (item,), (), (), (), (), (), "other", (), 0.7, {})
        try:
            found = plan_from_json(plan_to_json(plan))
        except ProjectError:
            refused += 1
            continue
        assert inside(Path("/project") / found.sources[0].path, Path("/project"))
    assert refused > 100


def test_a_suites_names_are_no_paths():
    whole = yaml.safe_load(render_suite("figure", name="t", base={"location": "x", "family": "painter"},
                                        subject="other", sources={"count": 2},
                                        candidates=[{"name": "a", "loras": "a.safetensors"}]))
    accepted = []
    for name in KNOWN:
        whole["candidates"][0]["name"] = name
        try:
            text = yaml.safe_dump(whole, allow_unicode=True)
            suite = parse_suite(text)
        except (WhichloraError, UnicodeEncodeError):
            continue
        accepted.append(suite.candidates[0].name)
    assert accepted
    assert not [name for name in accepted if "/" in name or "\\" in name or ":" in name or "\0" in name]


def test_photographs_outside_the_project_are_not_read(tmp_path):
    secret = tmp_path / "secret.png"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(secret)
    project = tmp_path / "project"
    project.mkdir()
    item = SourceImage("s", "../secret.png", "0" * 64, 40, 40)
    plan = Plan("p", BaseModel("b", "painter", "x", "f"), (), (item,), (), (), (), (), (), "other", (), 0.7, {})
    with pytest.raises((ProjectError, PhotoError), match="outside the project"):
        plan_from_json(plan_to_json(plan))
