"""`doctor PROJECT` finds what is wrong, mends it, and never costs a good picture or a readable row."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from whichlora.cli.main import main
from whichlora.run.pictures import pixel_hash, png_bytes
from whichlora.store import Store, VoteRow
from whichlora.suite.templating import render_suite
from whichlora.types import Generation, Score
from whichlora.workspace import Workspace

CELLS = 20


def picture(number):
    return np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    text = render_suite("figure", name="t", base={"location": "x", "family": "painter"}, subject="other",
                        sources={"count": 2}, candidates=[{"name": "a", "loras": "a.safetensors"}])
    (folder / "whichlora.yaml").write_text(text, encoding="utf-8")
    with Store(folder, create=True) as store:
        for number in range(CELLS):
            pixels = picture(number)
            image = store.images.put(png_bytes(pixels, "Steps: 4", {"cell": f"c1-{number:024}"}))
            store.add_generation(Generation(f"c1-{number:024}", "done", image, {"total": 1.0}, 5, "", {
                "height_px": 24, "width_px": 32, "pixels": pixel_hash(pixels), "device": "x" * 300}))
            store.add_scores([Score(f"c1-{number:024}", "m/x", 1, 0.5, "", True, None, "", {"note": "y" * 200})])
        store.add_votes([VoteRow(f"v{n}", "ada", "2026", "pair", {"left": "a", "note": "z" * 99}) for n in range(60)])
        with closing(sqlite3.connect(folder / "store.sqlite")) as db:  # so that pages of one kind lie together
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


def doctor(capsys, folder, *words):
    """(exit status, document)"""
    status = 0
    try:
        main(["doctor", str(folder), "--json", *words])
    except SystemExit as end:
        status = end.code or 0
    return status, json.loads(capsys.readouterr().out or "{}")


def wrong(document):
    return {check["name"] for check in document["checks"] if not check["ok"]}


def rows(folder):
    with Store(folder) as store:
        return store.generations(), store.scores(), store.votes()


def test_a_whole_project_is_called_whole_and_left_alone(project, capsys):
    before = rows(project)
    status, document = doctor(capsys, project, "--repair")
    assert (status, wrong(document)) == (0, set())
    assert document["repair"] == {"made_again": [], "moved_aside": [], "cleared": 0, "database": None}
    assert rows(project) == before


@pytest.mark.parametrize("harm", ["bit", "gone", "cut"])
def test_a_rotten_picture_is_named_and_forgotten_and_the_others_stay(project, capsys, harm):
    with Store(project) as store:
        path = store.images.path(store.generations()[f"c1-{7:024}"].image)
    data = bytearray(path.read_bytes())
    data[40] ^= 4
    path.write_bytes(data[:30] if harm == "cut" else data)
    if harm == "gone":
        path.unlink()
    status, document = doctor(capsys, project)
    assert (status, wrong(document)) == (1, {"pictures"})
    status, document = doctor(capsys, project, "--repair")
    assert (status, wrong(document)) == (0, set())
    assert document["repair"]["made_again"] == [f"c1-{7:024}"]
    generations, scores, votes = rows(project)
    assert set(generations) == {f"c1-{n:024}" for n in range(CELLS)} - {f"c1-{7:024}"}
    assert len(scores) == CELLS - 1
    assert len(votes) == 60


def test_what_no_row_names_is_moved_aside_and_only_damaged_files_go(project, capsys):
    with Store(project) as store:
        good = store.images.path(store.images.put(b"a picture that no row names"))
        bad = store.images.path(store.images.put(b"a damaged one"))
        store.add_scores([Score("c1-unknown", "m/x", 1, 0.5)])
    bad.write_bytes(b"a danaged one")
    (good.parent / f".{good.name}.0a0a.part").write_bytes(b"half")
    status, document = doctor(capsys, project)
    assert wrong(document) == {"scores", "unnamed pictures"}
    status, document = doctor(capsys, project, "--repair")
    assert (status, wrong(document)) == (0, set())
    assert (project / "set-aside" / "images" / good.name).read_bytes() == b"a picture that no row names"
    assert not bad.exists()
    assert not list((project / "images").rglob("*.part"))
    assert len(rows(project)[0]) == CELLS


@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_whichever_page_of_the_database_is_destroyed_every_cell_comes_back(project, capsys, kind):
    before = {cell: row.image for cell, row in rows(project)[0].items()}
    whole = (project / "store.sqlite").read_bytes()
    (project / "store.sqlite-wal").unlink(missing_ok=True)
    noise = random.Random(1)
    pages = len(whole) // 4096
    assert pages > 8
    found = 0
    for page in range(0, pages, 3 if kind == "zeros" else 4):
        data = bytearray(whole)
        data[page * 4096 : (page + 1) * 4096] = bytes(4096) if kind == "zeros" else noise.randbytes(4096)
        (project / "store.sqlite").write_bytes(data)
        status, _ = doctor(capsys, project)
        found += status == 1
        status, document = doctor(capsys, project, "--repair")
        assert (status, wrong(document)) == (0, set()), page
        generations, scores, votes = rows(project)
        assert {cell: row.image for cell, row in generations.items()} == before, page
        lacking = document["repair"]["database"] or {"complete": {}}
        assert len(votes) == 60 or not lacking["complete"]["votes"]
        assert len(scores) == CELLS or not lacking["complete"]["scores"]
        for path in project.glob("store.sqlite-*"):
            path.unlink()
    assert found >= pages // 8


def test_without_a_database_the_pictures_tell_which_cells_they_are(project, capsys):
    before = rows(project)[0]
    (project / "store.sqlite").unlink()
    status, document = doctor(capsys, project)
    assert (status, wrong(document)) == (1, {"database"})
    status, document = doctor(capsys, project, "--repair")
    assert status == 0
    assert document["repair"]["database"]["from_pictures"] == CELLS
    after = rows(project)[0]
    assert {cell: (row.image, row.facts["pixels"]) for cell, row in after.items()} == {
        cell: (row.image, row.facts["pixels"]) for cell, row in before.items()}


def test_a_cell_that_two_pictures_claim_is_made_again(project, capsys):
    with Store(project) as store:
        store.images.put(png_bytes(picture(999), "", {"cell": f"c1-{3:024}"}))
    (project / "store.sqlite").unlink()
    doctor(capsys, project, "--repair")
    assert set(rows(project)[0]) == {f"c1-{n:024}" for n in range(CELLS)} - {f"c1-{3:024}"}


def test_nothing_is_repaired_while_a_run_works_there(project, capsys):
    with Workspace(project).owned():
        status, document = doctor(capsys, project)
        assert status == 0
        assert "Another whichlora works" in document["checks"][0]["found"]
        assert doctor(capsys, project, "--repair")[0] == 2


def test_no_project_is_bad_input(tmp_path, capsys):
    assert doctor(capsys, tmp_path / "none")[0] == 2
    assert doctor(capsys, tmp_path)[0] == 2
