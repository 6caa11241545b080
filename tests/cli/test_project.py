"""What verbs share: photographs of somebody else neither become sources nor calibrate identity."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from families import painters
from whichlora.cli.init import create_project
from whichlora.cli.project import open_project

PORTRAITS = Path(__file__).parent.parent / "data" / "portraits"


def test_a_stranger_among_the_photographs_is_set_aside(tmp_path):
    photos = sorted(PORTRAITS.glob("*.jpg"))
    assert any(path.stem == "vice-president" for path in photos)
    head = {"name": "p", "base": {"family": "painter", "location": str(painters.base(tmp_path / "painter"))},
            "subject": "photograph", "sources": {"count": 2}}
    create_project(tmp_path / "p", photos, [], template="portrait", head=head)
    project = open_project(tmp_path / "p")
    used = {item.id for kind in ("sources", "calibration") for item in project.photos[kind]}
    assert used == {"president-smiling", "president-speaking", "president-standing"}
    assert any("vice-president" in note for note in project.notes)


def test_names_never_collide(tmp_path):
    """Equal stems, and a photograph that is called as an impostor would be, stay apart."""
    photos = {name: PORTRAITS / f"{name}.jpg" for name in
              ("president-smiling", "president-speaking", "president-standing", "vice-president")}
    head = {"name": "p", "base": {"family": "painter", "location": str(painters.base(tmp_path / "painter"))},
            "subject": "photograph", "sources": {"count": 5}}
    create_project(tmp_path / "p", [photos["president-speaking"]], [photos["vice-president"]], template="portrait",
                   head=head)
    refs = tmp_path / "p" / "refs"
    Image.open(photos["president-standing"]).save(refs / "president-speaking.png")
    shutil.copyfile(photos["president-smiling"], refs / "impostors-vice-president.jpg")
    project = open_project(tmp_path / "p")
    ids = [item.id for kind in project.photos.values() for item in kind]
    assert len(ids) == 4
    assert len(set(ids)) == 4
    paths = {item.path for item in project.photos["sources"]}
    assert paths == {"refs/president-speaking.jpg", "refs/president-speaking.png", "refs/impostors-vice-president.jpg"}


def test_a_project_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    real = shutil.copyfile
    calls = []

    def fails_at_the_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(shutil, "copyfile", fails_at_the_second)
    head = {"name": "p", "base": {"location": "x"}, "subject": "photograph", "sources": {"count": 2}}
    with pytest.raises(OSError, match="No space left"):
        create_project(tmp_path / "p", sorted(PORTRAITS.glob("*.jpg")), [], template="portrait", head=head)
    assert list(tmp_path.iterdir()) == []
