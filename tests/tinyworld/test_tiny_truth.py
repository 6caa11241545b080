from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from whichlora.tinyworld.characters import impostors  # noqa: E402
from whichlora.tinyworld.edits import Edit, apply_edits  # noqa: E402
from whichlora.tinyworld.render import render  # noqa: E402
from whichlora.tinyworld.state import camera_moved  # noqa: E402
from whichlora.tinyworld.truth import TruthGrader  # noqa: E402

LEFT = (Edit("camera", "left_45"),)
SUNSET = (Edit("light", "sunset"),)
BOTH = (*LEFT, *SUNSET)


@pytest.fixture(scope="module")
def grader():
    return TruthGrader()


def picture_of(who, states):
    return render(who, states)[0][0]


@pytest.mark.parametrize("edits", [LEFT, SUNSET, BOTH], ids=["left", "sunset", "both"])
def test_the_true_render_passes(grader, mina_scene, edits):
    who, states, _, _ = mina_scene
    grade = grader.grade(picture_of(*apply_edits(who, states, edits)), who, states, edits, "mina")
    assert grade.consistent
    assert grade.distance < 0.06


def test_a_noisy_blurred_truth_still_passes(grader, mina_scene):
    who, states, _, _ = mina_scene
    truth = picture_of(*apply_edits(who, states, LEFT))
    soft = torch.nn.functional.avg_pool2d(truth[None], 3, 1, 1)[0]
    noisy = soft + 0.04 * torch.randn(soft.shape, generator=torch.Generator().manual_seed(0))
    assert grader.grade(noisy.clamp(0, 1), who, states, LEFT, "mina").consistent


def test_the_unedited_source_fails_but_keeps_the_person(grader, mina_scene):
    who, states, picture, _ = mina_scene
    grade = grader.grade(picture, who, states, LEFT, "mina")
    assert not grade.edit_done
    assert grade.identity_kept
    assert grade.nearest_state == "unedited"


def test_a_third_of_the_turn_fails(grader, mina_scene):
    who, states, _, _ = mina_scene
    weak = picture_of(who, camera_moved(states, "left_45", 1 / 3))
    assert not grader.grade(weak, who, states, LEFT, "mina").edit_done


@pytest.mark.parametrize("name", ["hair_black", "skin_dark", "no_glasses", "purple_shirt"])
def test_another_person_at_the_right_angle_fails(grader, mina_scene, name):
    who, states, _, _ = mina_scene
    wrong = picture_of(*apply_edits(impostors()[name], states, LEFT))
    grade = grader.grade(wrong, who, states, LEFT, "mina")
    assert grade.edit_done
    assert not grade.identity_kept


def test_half_of_a_compound_edit_is_named(grader, mina_scene):
    who, states, _, _ = mina_scene
    only_turned = picture_of(*apply_edits(who, states, LEFT))
    grade = grader.grade(only_turned, who, states, BOTH, "mina")
    assert not grade.edit_done
    assert grade.nearest_state == "without_light"


def test_a_stranger_is_never_consistent(grader, mina_scene):
    who, states, _, _ = mina_scene
    wrong = picture_of(*apply_edits(impostors()["stranger_one"], states, LEFT))
    grade = grader.grade(wrong, who, states, LEFT, "mina")
    assert not grade.identity_kept
    assert len(grade.lost_traits) >= 3
