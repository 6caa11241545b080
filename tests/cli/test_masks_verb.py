"""`whichlora masks` on a painter whose LoRA draws masks, labelled by a planted truth."""

import pytest

from cli import rounds
from whichlora.cli import _more
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
