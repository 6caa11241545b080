"""Identity on the subject's own scale: planted distributions, real pairs, strangers, pasted and blended faces."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.photos import OWN, astronaut, blur, face_onto, hue, person, portrait, scaled, view
from whichlora.metrics.base import Reference, Subject
from whichlora.metrics.identity import face
from whichlora.metrics.identity._calibration import Defaults, calibrate, nearest
from whichlora.vision.picture import resized

DEFAULTS = Defaults(own_median=0.8, impostor_median=0.2, threshold=0.5)


@pytest.fixture(scope="module")
def prepared():
    return face.prepare(person())


def seen(prepared, output, **target):
    return face.measure(view(output, output, "camera", **(target or {"yaw_deg": 30})), prepared)


# ------------------------------------------------------------------ the scale, on planted numbers


def test_the_threshold_lets_one_stranger_in_a_hundred_pass():
    rng = np.random.default_rng(0)
    known, fresh = rng.normal(0.2, 0.1, 400), rng.normal(0.2, 0.1, 200_000)
    scale = calibrate(list(rng.normal(0.8, 0.05, 20)), list(known), DEFAULTS)
    assert float((fresh >= scale.threshold).mean()) == pytest.approx(0.01, abs=0.008)
    assert scale.calibration == "calibrated"


def test_few_strangers_make_the_threshold_stricter_not_laxer():
    rng = np.random.default_rng(1)
    false_matches = []
    for _ in range(300):
        scale = calibrate([0.9, 0.9, 0.9], list(rng.normal(0.2, 0.1, 8)), DEFAULTS)
        false_matches.append(float((rng.normal(0.2, 0.1, 4000) >= scale.threshold).mean()))
    assert np.mean(false_matches) < 0.013


def test_no_known_stranger_passes():
    strangers = [0.1, 0.12, 0.11, 0.1, 0.13, 0.6]
    assert calibrate([0.9] * 4, strangers, DEFAULTS).threshold > 0.6


def test_the_scale_runs_from_stranger_to_own():
    scale = calibrate([0.7, 0.8, 0.9], [0.1, 0.2, 0.2, 0.2, 0.3], DEFAULTS)
    assert scale.percent(0.2) == pytest.approx(0)
    assert scale.percent(0.8) == pytest.approx(100)
    assert scale.percent(0.5) == pytest.approx(50)
    assert scale.percent(-1.0) == 0


@pytest.mark.parametrize(("own", "strangers", "word"), [
    ([], [], "uncalibrated"), ([0.8] * 3, [0.1] * 2, "partly calibrated"), ([0.8], [0.1] * 6, "partly calibrated"),
    ([0.8] * 3, [0.1] * 6, "calibrated"),
])
def test_how_well_it_is_calibrated_is_said(own, strangers, word):
    scale = calibrate(own, strangers, DEFAULTS)
    assert scale.calibration == word
    assert bool(scale.notes) == (word != "calibrated")


def test_a_mislabelled_impostor_is_left_out_and_named():
    scale = calibrate([0.8, 0.82, 0.79], [0.1, 0.2, 0.15, 0.12, 0.18, 0.97], DEFAULTS)
    assert scale.threshold < 0.5
    assert any("left out" in note for note in scale.notes)


def test_a_useless_recogniser_says_so():
    scale = calibrate([0.2, 0.2, 0.2], [0.1, 0.15, 0.12, 0.19, 0.18], DEFAULTS)
    assert scale.threshold > 0.19
    tight = calibrate([0.20, 0.21, 0.22], [0.2] * 5, DEFAULTS)
    assert np.isfinite(tight.percent(0.5))


SHARP = Defaults(own_median=-0.18, impostor_median=-1.25, threshold=-0.45, sees_every_trait=True)
OWN_NEAR = [-0.16, -0.18, -0.2, -0.17, -0.22, -0.19, -0.21, -0.15]


def test_where_a_stranger_is_as_alike_as_own_photographs_nothing_is_told():
    strangers = [-1.3, -1.2, -0.9, -0.7, -0.6, -0.5]
    plain = calibrate(OWN_NEAR, strangers, SHARP)
    assert plain.fails_below == plain.threshold
    doubled = calibrate(OWN_NEAR, [*strangers, -0.195], SHARP)
    assert doubled.threshold > -0.195
    assert doubled.verdict(-0.15) is True
    assert doubled.verdict(-0.195) is None  # the double itself: never passed, and not told apart either
    assert doubled.verdict(-0.21) is None
    assert doubled.fails_below == pytest.approx(plain.threshold)
    assert doubled.verdict(plain.threshold - 0.01) is False
    assert any("stays open" in note for note in doubled.notes)


def test_one_look_alike_among_many_own_photographs_only_moves_the_threshold():
    # Own photographs that reach the threshold all the same leave nothing open.
    scale = calibrate([-0.1] * 9 + [-0.3], [-1.3, -1.2, -0.9, -0.7, -0.6, -0.29], SHARP)
    assert scale.fails_below == scale.threshold > -0.29


@pytest.mark.parametrize("known", range(1, 5))
def test_few_look_alikes_leave_edited_pictures_room_but_no_more_than_the_default(known):
    strangers = [-1.3, -1.25, -1.2, -1.15, -1.1, *[-0.7, -0.75, -0.8, -0.84][:known]]
    scale = calibrate(OWN_NEAR, strangers, SHARP)
    assert -0.45 < scale.threshold < min(OWN_NEAR)
    closer = calibrate(OWN_NEAR, [*strangers[:-1], -0.35], SHARP)
    assert closer.threshold > scale.threshold  # a nearer look-alike is held against it


def test_photographs_are_compared_with_the_others_and_not_themselves():
    similar = np.array([[1.0, 0.3, 0.5], [0.3, 1.0, 0.2], [0.5, 0.2, 1.0]])
    assert nearest(similar).tolist() == [0.5, 0.3, 0.5]


# ------------------------------------------------------------------ real faces


@pytest.mark.parametrize("left_out", OWN)
def test_real_pairs_pass(left_out):
    references = tuple(Reference(name, portrait(name), same=True) for name in OWN if name != left_out)
    result = seen(face.prepare(Subject("photograph", references)), portrait(left_out))
    assert result.passed is True
    assert result.value > 60
    assert result.detail["calibration"] == "uncalibrated"


@pytest.mark.parametrize("stranger", [portrait("vice-president"), astronaut()], ids=["vice-president", "astronaut"])
def test_another_person_fails(prepared, stranger):
    result = seen(prepared, stranger)
    assert result.passed is False
    assert result.value < 40
    assert "another person" in result.reason


def test_another_persons_face_pasted_into_the_photograph_fails(prepared):
    pasted = face_onto(portrait("president-smiling"), portrait("vice-president"))
    result = seen(prepared, pasted)
    assert result.passed is False


def test_an_identity_blend_is_monotone(prepared):
    base, donor = portrait("president-smiling"), portrait("vice-president")
    ladder = [seen(prepared, face_onto(base, donor, share)).value for share in (0, 0.25, 0.5, 0.75, 1.0)]
    assert ladder == sorted(ladder, reverse=True)
    assert ladder[0] > 2 * ladder[-1]


def test_the_own_picture_is_the_best(prepared):
    own = portrait("president-smiling")
    best = seen(prepared, own).value
    for damaged in (scaled(own, 200), face_onto(own, astronaut(), 0.3), hue(own, 60), blur(own, 3)):
        assert seen(prepared, damaged).value <= best


def test_the_largest_matching_face_counts_not_the_first(prepared):
    own, other = portrait("president-smiling"), resized(portrait("vice-president"), 560, 448)
    tall = np.zeros((640, 512 + 448, 3), np.uint8)
    tall[:, :512] = own
    tall[:560, 512:] = other
    mirrored_order = np.concatenate([tall[:, 512:], tall[:, :512]], axis=1)
    for picture in (tall, np.ascontiguousarray(mirrored_order)):
        result = seen(prepared, picture)
        assert result.passed is True
        assert result.detail["faces"] == 2


def test_no_face_is_a_failure_without_a_figure(prepared):
    result = seen(prepared, np.full((300, 300, 3), 99, np.uint8))
    assert result.value is None
    assert result.passed is False
    assert "no face" in result.reason


def test_a_back_view_is_unscored_instead(prepared):
    for target in ({"view": "back"}, {"yaw_deg": 90}):
        result = seen(prepared, np.full((300, 300, 3), 99, np.uint8), **target)
        assert result.passed is None
        assert result.reason.startswith("not measured")


def test_figures_and_drawings_are_left_to_others():
    assert face.prepare(person("figure")) is None
    assert seen(None, portrait("president-smiling")).reason.startswith("not applicable")


def test_detail_says_how_sure_the_scale_is(prepared):
    detail = seen(prepared, portrait("president-standing")).detail
    assert detail["calibration"] == "partly calibrated"
    assert detail["impostors"] == 2
    assert detail["own_photographs"] == 3
    assert detail["impostors_at_least_as_alike_percent"] == 0
