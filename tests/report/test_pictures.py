"""Pictures reach the report whole, without metadata, and a broken one is a reason."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

from report.fixture import build
from whichlora.report.html import write_report
from whichlora.report.pictures import PREVIEW_PX, _save, collect, file_stem
from whichlora.types import Generation


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Plots have tests of their own."""
    monkeypatch.setattr("whichlora.report.plots.PLOTS", {})


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return build(tmp_path_factory.mktemp("small"), photos=1, seeds=1, size=32)


def first_made(given):
    return next(made for made in given.generations.values() if made.image)


def test_originals_are_copied_byte_for_byte(small, tmp_path):
    book = collect(small.given, tmp_path)
    made = first_made(small.given)
    shown = book.image(made.image)
    assert (tmp_path / shown.url).read_bytes() == small.given.image_path(made.image).read_bytes()
    assert (shown.width_px, shown.height_px) == (32, 32)
    assert book.problems == ()


def test_a_large_picture_gets_a_small_webp(small, tmp_path):
    made = first_made(small.given)
    path = tmp_path / "large.png"
    Image.new("RGB", (1200, 800), (10, 120, 30)).save(path)
    given = replace(small.given, image_path=lambda digest: path)
    shown = collect(given, tmp_path / "r").image(made.image)
    assert shown.thumb.endswith(".webp")
    with Image.open(tmp_path / "r" / shown.thumb) as thumb:
        assert thumb.size == (PREVIEW_PX, PREVIEW_PX * 2 // 3)
    assert (shown.width_px, shown.height_px) == (1200, 800)


def photographed(small, tmp_path, size, **save):
    path = tmp_path / "photo.jpg"
    picture = Image.new("RGB", size, (200, 30, 30))
    picture.paste((30, 30, 200), (0, 0, size[0] // 2, size[1]))
    picture.save(path, quality=95, **save)
    return replace(small.given, source_path=lambda name: path)


def test_a_photograph_loses_its_metadata_and_stands_upright(small, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown 90° clockwise
    exif[0x010F] = "Maker-of-cameras"
    given = photographed(small, tmp_path, (400, 200), exif=exif)
    book = collect(given, tmp_path / "r")
    shown = book.source("photo-0")
    assert (shown.width_px, shown.height_px) == (200, 400)
    for file in (tmp_path / "r" / "assets").rglob("*.*"):
        assert b"Maker-of-cameras" not in file.read_bytes()
    with Image.open(tmp_path / "r" / shown.url) as picture:
        assert not picture.getexif()
        top = np.asarray(picture.convert("RGB"))[10, 100]
        assert top[2] > top[0]  # left half of the sensor is on top


def test_a_photograph_is_fitted_to_the_output_as_metrics_see_it(small, tmp_path):
    book = collect(photographed(small, tmp_path, (640, 640)), tmp_path / "r")
    assert list(book.source("photo-0").fitted) == [(32, 32)]
    with Image.open(tmp_path / "r" / book.source("photo-0").fitted[32, 32]) as fitted:
        assert fitted.size == (32, 32)


def test_a_photograph_of_another_shape_is_not_fitted(small, tmp_path):
    assert collect(photographed(small, tmp_path, (640, 600)), tmp_path / "r").source("photo-0").fitted == {}


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_picture_is_a_reason(small, tmp_path, content):
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    paths = write_report(replace(small.given, image_path=lambda d: bad, source_path=lambda n: bad), tmp_path / "r")
    assert len(paths.missing_pictures) == 1 + len({m.image for m in small.given.generations.values() if m.image})
    assert str(tmp_path) not in " ".join(paths.missing_pictures)
    assert "picture missing" in paths.index.read_text(encoding="utf-8")


def test_a_truncated_picture_is_not_shown_as_whole(small, tmp_path):
    made = first_made(small.given)
    whole = small.given.image_path(made.image).read_bytes()
    bad = tmp_path / "half.png"
    bad.write_bytes(whole[: len(whole) // 2])
    assert collect(replace(small.given, image_path=lambda d: bad), tmp_path / "r").image(made.image).url == ""


def test_a_store_that_knows_no_such_picture_is_a_reason(small, tmp_path):
    def unknown(digest):
        raise KeyError(digest)

    book = collect(replace(small.given, image_path=unknown), tmp_path)
    assert all("does not know" in problem for problem in book.problems)


def test_pictures_of_an_earlier_report_are_removed(small, tmp_path):
    folder = tmp_path / "r"
    collect(small.given, folder)
    before = set((folder / "assets" / "pictures").iterdir())
    (folder / "assets" / "pictures" / "mine.png").write_bytes(b"kept")
    few = dict(list(small.given.generations.items())[:3])
    collect(replace(small.given, generations=few), folder)
    after = set((folder / "assets" / "pictures").iterdir())
    assert len(after) < len(before)
    assert folder / "assets" / "pictures" / "mine.png" in after


def test_a_hash_is_never_used_as_a_path(small, tmp_path):
    made = first_made(small.given)
    cell = made.cell
    evil = Generation(cell, "done", "../../../../evil", {}, 0)
    source = small.given.image_path(made.image)
    given = replace(small.given, generations={cell: evil}, image_path=lambda d: source)
    book = collect(given, tmp_path / "r")
    assert book.image("../../../../evil").url == f"assets/pictures/{file_stem('../../../../evil')}.png"
    assert not list(tmp_path.glob("*evil*"))


def test_a_copy_that_was_cut_short_is_made_anew(small, tmp_path):
    shown = collect(small.given, tmp_path).image(first_made(small.given).image)
    whole = (tmp_path / shown.url).read_bytes()
    (tmp_path / shown.url).write_bytes(whole[:100])
    collect(small.given, tmp_path)
    assert (tmp_path / shown.url).read_bytes() == whole


def test_one_photograph_under_two_names_is_written_by_both_at_once(tmp_path):
    """Both have written before either is in place: neither may lose its file to the other."""
    meet = Barrier(2, timeout=20)

    class Slow:
        def save(self, path, kind, **options):
            path.write_bytes(b"whole")
            meet.wait()

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(_save, Slow(), tmp_path / "same.png", "PNG") for _ in range(2)]
    assert [one.exception() for one in both] == [None, None]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("same.png", b"whole")]


def test_pictures_that_cannot_be_shown_are_said_on_the_terminal(tmp_path, capsys):
    """The page shows a placeholder for each; whoever runs the command must learn of it too."""
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
    from lab.planted import FOLDER
    from lab.recorded import load, restore

    from whichlora.cli.main import main

    world = load(FOLDER / "19-few-photographs.json")
    restore(world, tmp_path / "p")
    pictures = sorted(path for path in (tmp_path / "p" / "images").rglob("*") if path.is_file())
    for path in pictures:
        path.chmod(0o644)
        path.write_bytes(b"rotten")
    with pytest.raises(SystemExit) as left:
        main(["report", str(tmp_path / "p")])
    assert not left.value.code
    said = " ".join(capsys.readouterr().err.split())
    used = len({letter for parts in world["cells"].values() for part in parts for letter in part} - {"f"})
    assert f"note {used} pictures could not be shown, the first: Picture" in said
    assert f"whichlora doctor {tmp_path / 'p'}" in said
