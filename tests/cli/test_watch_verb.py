"""`watch` against a local Hub: finds, asks, fetches, refuses, runs only the new cells, and does nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from export import projects
from families import painters
from hub.client import use
from hub.server import File, Hub, Repo, lora_tensors, safetensors_header
from whichlora.cli._floor import is_below
from whichlora.cli.main import main
from whichlora.cli.stages import conclude, stored_plan
from whichlora.lease import owned
from whichlora.plan.watching import (
    Memory,
    Seen,
    find_new,
    load_memory,
    load_rows,
    read_catalogue,
    save_memory,
    save_rows,
)
from whichlora.store import Store
from whichlora.suite.loading import load_suite
from whichlora.suite.schema import CandidateSpec
from whichlora.survey.names import local_name

BASE = "Qwen/Qwen-Image-Edit-2509"


@pytest.fixture
def project(tmp_path):
    """A painter project with a decision, made within this process."""
    finished = projects.painted(tmp_path, photos=1)
    with finished.store() as store:
        conclude(store, finished.plan, "planted")
    return finished.folder


def watch(capsys, folder, *words, status=0):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["watch", str(folder), "--device", "cpu", "--base", BASE, "--json", *map(str, words)])
    captured = capsys.readouterr()
    assert ended.value.code == status, captured.err
    return json.loads(captured.out) if captured.out else captured.err


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def survey_of(path: Path, *repos: Repo) -> Path:
    """A saved survey that calls every repository compatible."""
    entries = [
        {"repo_id": repo.id, "file": name, "verdict": "compatible", "list": "must", "licence": "mit",
         "files": [{"name": name, "size_bytes": file.size, "sha256": file.claimed()}]}
        for repo in repos for name, file in repo.files.items()
    ]
    path.write_text(json.dumps({"schema": "whichlora.survey/1", "entries": entries}), encoding="utf-8")
    return path


def test_a_survey_of_the_hub_names_what_is_new(project, tmp_path, monkeypatch, capsys):
    head, size = safetensors_header(lora_tensors())
    tags = ["lora", f"base_model:adapter:{BASE}"]
    card = {"base_model": BASE, "license": "mit", "tags": ["camera rotation"]}
    with Hub([Repo("good/QE-2509-Camera", {"camera.safetensors": File(head, size, sha256="a" * 64)}, tags, card,
                   downloads=9000),
              Repo("other/FLUX-Camera", {"camera.safetensors": File(head, size, sha256="b" * 64)},
                   ["lora", "base_model:adapter:black-forest-labs/FLUX.1-dev"],
                   {"base_model": "black-forest-labs/FLUX.1-dev"})]) as hub:
        use(hub, tmp_path / "home", monkeypatch)
        before = files(project)
        found = watch(capsys, project, "--dry-run")
        named = {item["repo_id"]: item for item in found["new"]}
        assert set(named) & {"good/QE-2509-Camera", "other/FLUX-Camera"} == {"good/QE-2509-Camera"}
        assert named["good/QE-2509-Camera"]["size_bytes"] == size
        assert not found["changed"]
        assert files(project) == before, "a dry run changes nothing"
        assert hub.bytes_of("camera.safetensors") < 1_000_000, "headers only"
        hub.fail_status = [500] * 999
        assert "500" in watch(capsys, project, status=3)
        assert files(project) - {".lock"} == before


def test_new_loras_are_fetched_with_leave_gated_and_run_once(project, tmp_path, monkeypatch, capsys):
    good = painters.lora(tmp_path / "g.safetensors", camera=0.5).read_bytes()
    zero = painters.lora(tmp_path / "z.safetensors", camera=0.0).read_bytes()
    repos = [Repo("good/QE-2509-Camera", {"camera.safetensors": File(good)}),
             Repo("bad/QE-2509-Nothing", {"camera.safetensors": File(zero)})]
    survey = survey_of(tmp_path / "s.json", *repos)
    with Hub(repos) as hub:
        use(hub, tmp_path / "home", monkeypatch)
        asked = watch(capsys, project, "--catalogue", survey)
        assert len(asked["waiting"]) == 2
        assert all("--fetch" in reason for reason in asked["waiting"].values())
        small = watch(capsys, project, "--catalogue", survey, "--fetch", "--max-gb", "0")
        assert all("--max-gb" in reason for reason in small["waiting"].values())
        assert hub.bytes_of("camera.safetensors") == 0, "nothing was fetched without leave"
        with Store(project) as store:
            made = set(store.generations())
        done = watch(capsys, project, "--catalogue", survey, "--fetch")
        assert (done["added"], len(done["refused"])) == (["QE-2509-Camera"], 1)
        assert "zero" in next(iter(done["refused"].values()))
        with Store(project) as store:
            plan, finished = stored_plan(store), store.finished()
        new = {cell.id for cell in plan.cells if cell.candidate == "QE-2509-Camera"}
        assert finished - made == new, "only the new candidate's cells were made"
        assert done["changed"] is any(done["before"][key] != done["after"][key]
                                      for key in ("decision", "candidate", "firm"))
        assert "good/QE-2509-Camera" in (project / "watched.yaml").read_text(encoding="utf-8")
        report = (project / "report" / "index.html").stat().st_mtime_ns
        sent = hub.bytes_of("camera.safetensors")
        again = watch(capsys, project, "--catalogue", survey, "--fetch", "--fail-under", "1.0", status=1)
        assert again["new"] == again["added"] == []
        assert (project / "report" / "index.html").stat().st_mtime_ns == report, "nothing was done twice"
        assert hub.bytes_of("camera.safetensors") == sent


def test_a_baseline_takes_what_exists_as_known(project, tmp_path, capsys):
    survey = survey_of(tmp_path / "s.json", Repo("a/one", {"x.safetensors": File(b"x" * 99)}))
    words = ("--catalogue", survey, "--offline")
    assert len(watch(capsys, project, *words)["waiting"]) == 1
    assert len(watch(capsys, project, *words, "--baseline")["new"]) == 1
    assert watch(capsys, project, *words)["new"] == []


def test_a_look_that_was_cut_before_it_decided_is_taken_up_again(project):
    from whichlora.cli.project import open_project
    from whichlora.cli.watch import _findings, _unfinished
    from whichlora.plan.watching import save_rows
    from whichlora.suite.schema import CandidateSpec

    opened = open_project(project)
    assert not _unfinished(opened, _findings(opened))
    save_rows(project, [CandidateSpec(name="new", loras="soft.safetensors:0.5")])
    assert _unfinished(opened, _findings(opened))


def test_nothing_is_watched_before_anything_was_decided(project, tmp_path, capsys):
    (project / "store.sqlite").rename(tmp_path / "away.sqlite")
    assert "evaluate" in watch(capsys, project, "--offline", status=2)


def test_what_two_looks_found_at_once_is_one_row_and_nothing_is_forgotten(project, tmp_path, monkeypatch, capsys):
    """The second look began before the first had written anything."""
    good, bad = (
        Repo(f"a/{name}", {"x.safetensors": File(painters.lora(tmp_path / f"{name}.st", camera=able).read_bytes())})
        for name, able in (("good", 0.5), ("bad", 0.0))
    )
    survey = survey_of(tmp_path / "s.json", good, bad)
    from whichlora.cli import watch as verb
    from whichlora.plan import watching

    with Hub([good, bad]) as hub:
        use(hub, tmp_path / "home", monkeypatch)
        first = watch(capsys, project, "--catalogue", survey, "--fetch")
        assert (first["added"], len(first["refused"])) == (["good"], 1)
        other = Memory({"a/other:x.safetensors@1": Seen("refused", reason="by a third look")})
        save_memory(project, load_memory(project).joined(other))
        stale = iter([Memory()])
        with monkeypatch.context() as patch:
            patch.setattr(verb, "_find", lambda look, *_: look.new.extend(late(survey)))
            patch.setattr(watching, "load_memory", lambda folder: next(stale, None) or load_memory(folder))
            second = watch(capsys, project, "--catalogue", survey, "--fetch")
        assert second["added"] == []
        assert [row.name for row in load_rows(project)] == ["good"]
        assert {seen.fate for seen in load_memory(project).seen.values()} == {"added", "refused"}
        assert len(load_memory(project).seen) == 3
        assert watch(capsys, project, "--catalogue", survey, "--fetch")["new"] == []


def late(survey):
    """What a look found that knew of nothing."""
    suite = load_suite(survey.parent / "mina" / "whichlora.yaml")
    return find_new(read_catalogue(survey), suite, Memory())[0]


def test_a_busy_project_is_not_looked_at(project, tmp_path, monkeypatch, capsys):
    repo = Repo("a/one", {"x.safetensors": File(painters.lora(tmp_path / "g.safetensors", camera=0.5).read_bytes())})
    survey = survey_of(tmp_path / "s.json", repo)
    with Hub([repo]) as hub, owned(project):
        use(hub, tmp_path / "home", monkeypatch)
        watch(capsys, project, "--catalogue", survey, "--fetch", status=2)
        assert hub.bytes_of("x.safetensors") == 0, "nothing is fetched for a project that cannot be written"
        assert watch(capsys, project, "--catalogue", survey, "--offline", "--dry-run")["looked_at"] == 1


def test_a_row_of_a_cut_look_that_the_load_gate_refuses_is_not_tried_for_ever(project, tmp_path, capsys):
    """The first look was killed between writing its row and testing it."""
    painters.lora(project / "loras" / local_name("a/zero", "x.safetensors"), camera=0.0)
    save_rows(project, [CandidateSpec(name="zero", loras="a/zero:x.safetensors:1")])
    survey = survey_of(tmp_path / "s.json")
    first = watch(capsys, project, "--catalogue", survey, "--offline")
    assert list(first["refused"]) == [next(iter(load_memory(project).seen))]
    assert next(iter(first["refused"])).startswith("a/zero:x.safetensors@")
    assert load_rows(project) == []
    report = (project / "report" / "index.html").stat().st_mtime_ns
    assert watch(capsys, project, "--catalogue", survey, "--offline")["refused"] == {}
    assert (project / "report" / "index.html").stat().st_mtime_ns == report


def test_a_new_upload_of_a_refused_file_is_fetched_and_tested(project, tmp_path, monkeypatch, capsys):
    zero = painters.lora(tmp_path / "z.safetensors", camera=0.0).read_bytes()
    good = painters.lora(tmp_path / "g.safetensors", camera=0.5).read_bytes()
    for data, added in ((zero, []), (good, ["one"])):
        repo = Repo("a/one", {"x.safetensors": File(data)})
        with Hub([repo]) as hub:
            use(hub, tmp_path / "home", monkeypatch)
            found = watch(capsys, project, "--catalogue", survey_of(tmp_path / "s.json", repo), "--fetch",
                          "--max-gb", "inf")
        assert found["added"] == added, found
        assert bool(found["refused"]) is not bool(added)


def test_a_download_that_is_not_what_was_promised_waits(project, tmp_path, monkeypatch, capsys):
    good = painters.lora(tmp_path / "g.safetensors", camera=0.5).read_bytes()
    repo = Repo("a/one", {"x.safetensors": File(good, sha256="c" * 64)})
    survey = survey_of(tmp_path / "s.json", repo)
    with Hub([repo]) as hub:
        use(hub, tmp_path / "home", monkeypatch)
        found = watch(capsys, project, "--catalogue", survey, "--fetch")
    assert found["refused"] == {}
    assert "its hash is" in next(iter(found["waiting"].values()))
    assert load_memory(project).seen == {}


@pytest.mark.parametrize(("rates", "floor", "below"), [
    ((0.7,), 0.7, False), ((float(np.mean([0.1, 0.2, 0.3, 0.6])) * 7 / 3,), 0.7, False), ((0.7 - 2e-16,), 0.7, False),
    ((0.699,), 0.7, True), ((0.2, 0.9), 0.9, False), ((None,), 0.0, False), ((None,), 0.01, True),
    ((0.0,), None, False),
])
def test_a_floor_is_not_missed_by_rounding(rates, floor, below, capsys):
    rows = [SimpleNamespace(role="candidate", ccr=SimpleNamespace(value=rate)) for rate in rates]
    rows.append(SimpleNamespace(role="control", ccr=SimpleNamespace(value=1.0)))
    assert is_below(SimpleNamespace(candidates=rows), floor) is below
    assert ("below --fail-under" in capsys.readouterr().err) is below
