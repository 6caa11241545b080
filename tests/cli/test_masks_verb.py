"""`whichlora masks` on a painter whose LoRA draws masks, labelled by a planted truth."""

import pytest

from cli import rounds
from whichlora.cli import _more, masks
from whichlora.cli.masks import compare_masks
from whichlora.errors import ProjectError
from whichlora.types import Score


def test_drawn_masks_are_compared_on_the_same_pictures_and_kept_only_if_they_help(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_more, "rate_pictures", rounds.planted)
        folder = rounds.build(tmp_path / "p", {
            "masker": {"segmentation": 1.0, "lighting": 0.01}, "over": {"lighting": 1.0, "identity_damage": 1.0},
        })
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        with pytest.raises(ProjectError, match="which pictures keep the person"):
            compare_masks(measured, "masker", "segment the person")
        measured.store.add_scores([
            Score(cell.id, "truth/consistent", 1, 1.0, detail={"identity_kept": cell.candidate != "over"})
            for cell in measured.plan.cells if cell.candidate in ("base", "over")
        ], context=measured.context)
        before = len(measured.store.generations())
        document = compare_masks(measured, "masker", "segment the person")
        made = len(measured.store.generations()) - before
        again = compare_masks(measured, "masker", "segment the person")
        assert len(measured.store.generations()) == before + made
    # A mask for each of 8 pictures and each photograph of the character.
    assert document["pictures"] == document["drawn"] == 8
    assert document["labels"] == "truth"
    # The painter's masks are the default masks with a hard edge: they cannot be shown to help, and nothing says so.
    assert document["overlap"] > 0.7
    assert not document["helps"]
    assert "default masks stay" in document["sentences"][-1]
    assert again["results"] == document["results"]


def test_a_lora_that_draws_no_masks_is_said_to_draw_none(tmp_path, monkeypatch):
    """'light' answers every wish to segment with a photograph."""
    with monkeypatch.context() as patch:
        patch.setattr(_more, "rate_pictures", rounds.planted)
        folder = rounds.build(tmp_path / "p", {"light": {"lighting": 0.7}, "over": {"identity_damage": 1.0}})
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        measured.store.add_scores([
            Score(cell.id, "truth/consistent", 1, 1.0, detail={"identity_kept": cell.candidate != "over"})
            for cell in measured.plan.cells if cell.candidate in ("base", "over")
        ], context=measured.context)
        document = compare_masks(measured, "light", "segment the person")
    assert (document["drawn"], document["pictures"], document["default"]) == (0, 8, 8)
    assert document["sentences"][0].startswith("light drew a usable mask for 0 of 8 pictures")
    assert document["lost"]["subject"] == 8
    assert any("8 pictures" in text and "cannot be read" in text for text in document["sentences"])
    assert not document["helps"]


def test_masks_that_miss_the_face_are_told_and_do_not_help(tmp_path, monkeypatch):
    """Masks of everything but the person: of the right form, and no face can be read under them."""
    with monkeypatch.context() as patch:
        patch.setattr(_more, "rate_pictures", rounds.planted)
        folder = rounds.build(tmp_path / "p", {"masker": {"segmentation": 1.0}, "over": {"identity_damage": 1.0}})
    real = masks._drawings
    monkeypatch.setattr(masks, "_drawings", lambda *given: {name: 255 - drawing
                                                            for name, drawing in real(*given).items()})
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        measured.store.add_scores([
            Score(cell.id, "truth/consistent", 1, 1.0, detail={"identity_kept": cell.candidate != "over"})
            for cell in measured.plan.cells if cell.candidate in ("base", "over")
        ], context=measured.context)
        document = compare_masks(measured, "masker", "segment the person")
    assert document["drawn"] == 8
    assert document["overlap"] < 0.1
    assert document["lost"]["identity"] == 8
    assert any(text.startswith("likeness of the masked person: 8 pictures") for text in document["sentences"])
    assert "default masks stay" in document["sentences"][-1]
