from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from whichlora.tinyworld.characters import impostors, mina, write_demo_references  # noqa: E402
from whichlora.tinyworld.edits import COMPOUND_EDITS, EDITS, Edit, apply_edits  # noqa: E402
from whichlora.tinyworld.identity import Identities, sample_identities  # noqa: E402
from whichlora.tinyworld.instructions import instruction, phrases, training_texts  # noqa: E402
from whichlora.tinyworld.render import render  # noqa: E402
from whichlora.tinyworld.state import camera_moved, plain_states, sample_states  # noqa: E402

SMALL = 48


def generator(seed: int = 0):
    return torch.Generator().manual_seed(seed)


def test_rendering_is_deterministic_and_in_range():
    who, states = sample_identities(3, generator=generator()), sample_states(3, generator=generator())
    first, mask = render(who, states, SMALL)
    again, _ = render(who, states, SMALL)
    assert torch.equal(first, again)
    assert first.shape == (3, 3, SMALL, SMALL)
    assert mask.shape == (3, 1, SMALL, SMALL)
    assert first.min() >= 0
    assert first.max() <= 1
    assert (mask.mean((1, 2, 3)) > 0.15).all()


def test_a_batch_renders_like_single_pictures():
    who, states = sample_identities(2, generator=generator(4)), sample_states(2, generator=generator(4))
    both, _ = render(who, states, SMALL)
    alone, _ = render(who.select([1]), states.select([1]), SMALL)
    assert torch.allclose(both[1], alone[0], atol=1e-5)


def test_camera_to_the_right_shows_the_nose_on_the_left():
    """From the viewer's right, a figure that looks forward looks to the picture's left."""
    who = sample_identities(1, generator=generator(2)).replaced(hat=0, hair_style=0, glasses=0)
    who = who.replaced(eyes=torch.tensor([[0.0, 0.9, 0.0]]), skin=torch.tensor([[0.9, 0.7, 0.55]]))
    states = plain_states(1)
    places = {}
    for edit in ("left_45", "right_45"):
        picture, _ = render(who, camera_moved(states, edit), 96)
        red, green, blue = picture[0]
        eyes = (green > 0.4) & (red < 0.3) & (blue < 0.3)
        places[edit] = eyes.nonzero()[:, 1].float().mean().item() / 96
    assert places["right_45"] < 0.5 < places["left_45"]


def test_turning_there_and_back_is_nothing():
    states = sample_states(5, generator=generator(1))
    back = camera_moved(camera_moved(states, "left_45"), "right_45")
    turn = torch.remainder(back.yaw - states.yaw + math.pi, 2 * math.pi) - math.pi
    assert turn.abs().max() < 1e-3


def test_people_and_impostors_look_different():
    everyone = [mina(), *impostors().values()]
    who = Identities.concat(everyone)
    pictures, _ = render(who, plain_states(len(who)), SMALL)
    difference = ((pictures[1:] - pictures[:1]) ** 2).mean((1, 2, 3))
    assert difference.min() > 5e-4


def test_hiding_the_figure_leaves_the_backdrop():
    _, mask = render(mina(), plain_states(1), SMALL, shown=torch.tensor([False]))
    assert mask.max() == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_edit_has_phrases(language):
    for key in [*((edit,) for edit in EDITS), *COMPOUND_EDITS]:
        options = phrases(key, language)
        assert options
        assert all(option.strip() == option and option for option in options)
    texts = training_texts((Edit("camera", "left_45"),), 12)
    assert any("度" in text for text in texts)
    assert any("degrees" in text for text in texts)


def test_instruction_wording_is_stable():
    assert instruction((Edit("camera", "left_45"),)) == "rotate the camera 45 degrees to the left"
    assert instruction((Edit("camera", "left_45"),), "zh") == "将镜头向左旋转45度"


def test_edits_change_what_they_name_only():
    who, states = mina(), sample_states(1, generator=generator(9))
    for edit in EDITS:
        new_who, new_states = apply_edits(who, states, (edit,))
        if edit.family != "shirt":
            assert torch.equal(new_who.shirt, who.shirt)
        if edit.family != "camera":
            assert torch.equal(new_states.yaw, states.yaw)
        if edit.family != "light":
            assert torch.equal(new_states.light, states.light)


def test_references_are_written(tmp_path):
    paths = write_demo_references(tmp_path / "refs", count=3)
    assert [path.name for path in paths] == ["mina_01.png", "mina_02.png", "mina_03.png"]
    assert all(path.stat().st_size > 2000 for path in paths)
