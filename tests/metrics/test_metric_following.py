"""Edits on real photographs: done ones pass, wrong and missing ones fail, what nothing can tell stays open."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metrics.photos import OWN, astronaut, blur, new_background, noisy, portrait, scaled, vae_like, view, warp
from whichlora.metrics.following import background, camera, copy, expression, lighting, trigger, unchanged
from whichlora.vision.picture import resized

SMILING = portrait("president-smiling")
TURNED = portrait("president-speaking")  # camera at about +15°: the face looks to the picture's left
OTHER_WAY = portrait("president-standing")  # at about −11°
MIRRORED = np.ascontiguousarray(TURNED[:, ::-1])


def tinted(picture, red=1.0, green=1.0, blue=1.0):
    return np.clip(np.rint(picture * np.array([red, green, blue])), 0, 255).astype(np.uint8)


def side_lit(picture, left, right):
    ramp = np.linspace(left, right, picture.shape[1])[None, :, None]
    return np.clip(np.rint(picture * ramp), 0, 255).astype(np.uint8)


# ------------------------------------------------------------------ camera


@pytest.mark.parametrize(("source", "output", "asked", "passes"), [
    (TURNED, OTHER_WAY, -30, True),
    (OTHER_WAY, TURNED, 30, True),
    (TURNED, OTHER_WAY, 30, False),  # turned the wrong way
    (TURNED, TURNED, 30, False),
    (TURNED, OTHER_WAY, -60, False),  # not far enough
    (TURNED, OTHER_WAY, -12, False),  # too far
])
def test_a_turn_is_judged_by_direction_and_size(source, output, asked, passes):
    result = camera.measure(view(source, output, yaw_deg=asked), "photograph")
    assert result.passed is passes, result
    assert result.detail["asked_deg"] == asked


@pytest.mark.parametrize("damage", [lambda p: p, vae_like, lambda p: warp(p, 1.01, 2, -1)],
                         ids=["exact", "vae", "zoom"])
def test_a_mirror_image_is_no_turn_and_no_light_from_the_other_side(damage):
    turned = camera.measure(view(TURNED, damage(MIRRORED), yaw_deg=-29), "photograph")  # just what was asked
    assert (turned.passed, turned.reason) == (False, "the picture is its source seen in a mirror")
    lit = side_lit(TURNED, 1.4, 0.6)
    swapped = np.ascontiguousarray(damage(lit)[:, ::-1])
    right = lighting.measure(view(lit, swapped, "lighting", light="right"), "photograph")
    assert (right.passed, right.value) == (False, None)


BODY = np.ascontiguousarray(SMILING[430:])
"""Shoulders and jacket; no face shows."""


@pytest.mark.parametrize("target", [{"yaw_deg": 90}, {"view": "back"}, {"pitch_deg": 30}])
@pytest.mark.parametrize("damage", [lambda p: p, vae_like, lambda p: noisy(p, 4)], ids=["same", "vae", "noise"])
def test_a_body_without_a_face_fails_where_it_is_seen_as_before(target, damage):
    assert camera.measure(view(BODY, damage(BODY), **target), "photograph").passed is False


def test_a_body_that_changed_stays_open_and_its_zoom_is_measured():
    other = np.ascontiguousarray(resized(TURNED, 640, 512)[430:])
    open_ = camera.measure(view(BODY, other, yaw_deg=90), "photograph")
    assert open_.passed is None
    assert open_.detail["same_share"] < 0.9
    assert camera.measure(view(BODY, warp(BODY, 1.25), zoom=1.25), "photograph").passed is True
    assert camera.measure(view(BODY, BODY, zoom=1.25), "photograph").passed is False
    assert camera.measure(view(BODY, warp(BODY, 1.04), zoom=1.25), "photograph").passed is False


@pytest.mark.parametrize(("metric", "family", "target"), [
    (camera, "camera", {"yaw_deg": 30}), (lighting, "lighting", {"light": "aurora"}),
    (background, "background", {"background": "beach"}), (expression, "expression", {"expression": "smile"}),
])
@pytest.mark.parametrize("kind", ["drawn", "other"])
def test_what_no_verifier_can_tell_still_fails_where_nothing_changed(metric, family, target, kind):
    small = scaled(SMILING, 256)
    idle = metric.measure(view(small, vae_like(small), family, **target), kind)
    assert (idle.passed, idle.reason) == (False, "nothing changed")
    changed = metric.measure(view(small, scaled(tinted(SMILING, 0.4, 1.2, 1.5), 256), family, **target), kind)
    assert changed.passed is None


def test_a_raised_camera_is_seen():
    raised_chin = resized(portrait("president-standing"), 560, 448)
    lower = camera.measure(view(resized(SMILING, 560, 448), raised_chin, pitch_deg=-16), "photograph")
    assert lower.passed is True
    higher = camera.measure(view(resized(SMILING, 560, 448), raised_chin, pitch_deg=16), "photograph")
    assert higher.passed is False


def test_a_profile_is_only_bounded_and_a_missing_face_stays_open():
    half_way = camera.measure(view(TURNED, OTHER_WAY, yaw_deg=-90), "photograph")
    assert half_way.passed is False
    gone = camera.measure(view(TURNED, np.full_like(TURNED, 120), yaw_deg=90), "photograph")
    assert gone.passed is None
    lost = camera.measure(view(TURNED, np.full_like(TURNED, 120), yaw_deg=30), "photograph")
    assert lost.passed is False


def test_a_back_view_with_a_face_fails():
    assert camera.measure(view(TURNED, MIRRORED, view="back"), "photograph").passed is False


def test_coming_closer_is_measured_on_the_face():
    closer = warp(SMILING, 1.3)
    assert camera.measure(view(SMILING, closer, zoom=1.3), "photograph").passed is True
    assert camera.measure(view(SMILING, SMILING, zoom=1.3), "photograph").passed is False


@pytest.mark.parametrize("asked", [5, 15, 20, 45, 90, 180])
def test_the_tolerance_never_lets_inaction_pass(asked):
    for kind in ("photograph", "figure"):
        assert camera.tolerance_deg(asked, kind) < asked
        assert camera.tolerance_deg(-asked, kind) == camera.tolerance_deg(asked, kind)


def test_targets_without_a_verifier_stay_open():
    assert camera.measure(view(TURNED, OTHER_WAY, roll_deg=20), "photograph").passed is None
    assert camera.measure(view(TURNED, MIRRORED, yaw_deg=45), "other").passed is None
    things, others = (noisy(np.full((256, 256, 3), grey, np.uint8), 20) for grey in (120, 60))
    assert camera.measure(view(things, others, yaw_deg=45), "photograph").passed is None


# ------------------------------------------------------------------ lighting


@pytest.mark.parametrize(("light", "output"), [
    ("sunset", tinted(SMILING, 1.15, 0.95, 0.7)),
    ("moon", tinted(SMILING, 0.6, 0.75, 1.0)),
    ("left", side_lit(SMILING, 1.3, 0.5)),
    ("right", side_lit(SMILING, 0.5, 1.3)),
    ("daylight", tinted(SMILING, 1.25, 1.25, 1.28)),
    ("neon", tinted(SMILING, 1.2, 0.6, 1.2)),
    ("golden hour", tinted(SMILING, 1.15, 0.95, 0.7)),
])
def test_a_relit_photograph_passes(light, output):
    result = lighting.measure(view(SMILING, output, "lighting", light=light), "photograph")
    assert result.passed is True, result
    opposite = {"sunset": "moon", "moon": "sunset", "left": "right", "right": "left", "daylight": "moon",
                "neon": "studio", "golden hour": "moon"}[light]
    assert lighting.measure(view(SMILING, output, "lighting", light=opposite), "photograph").passed is False


def test_studio_light_evens_out_a_side_lit_face():
    harsh = side_lit(SMILING, 1.3, 0.4)
    assert lighting.measure(view(harsh, SMILING, "lighting", light="studio"), "photograph").passed is True
    assert lighting.measure(view(SMILING, harsh, "lighting", light="studio"), "photograph").passed is False


def test_more_light_is_never_less_strength():
    strengths = [
        lighting.measure(view(SMILING, tinted(SMILING, 1 + dose, 1, 1 - dose), "lighting", light="sunset"),
                         "photograph").value
        for dose in (0, 0.05, 0.1, 0.2, 0.3)
    ]
    assert strengths == sorted(strengths)


@pytest.mark.parametrize("picture", [*(portrait(name) for name in (*OWN, "vice-president")), astronaut()],
                         ids=[*OWN, "vice-president", "astronaut"])
def test_colour_temperature_and_side_follow_the_light_on_every_photograph(picture):
    picture = scaled(picture, 256)

    def found(output):
        return lighting.measure(view(picture, output, "lighting", light="sunset"), "photograph")

    warmer = [found(tinted(picture, 1 + share / 2, 1, 1 - share)) for share in (0, 0.1, 0.2, 0.35)]
    kelvin = [result.detail["colour_temperature_k"][1] for result in warmer]
    assert kelvin == sorted(kelvin, reverse=True)
    assert kelvin[0] > 1.15 * kelvin[-1]
    assert [result.passed for result in (warmer[0], warmer[-1])] == [False, True]
    sides = [found(side_lit(picture, 1 + step, 1 - step)).detail["shift"]["side"] for step in (-0.4, -0.2, 0, 0.2, 0.4)]
    assert sides == sorted(sides, reverse=True)
    assert sides[2] == pytest.approx(0, abs=0.02)


def test_the_colour_temperature_of_known_whites():
    region = np.ones((4, 4), bool)
    white = np.full((4, 4, 3), 255, np.uint8)
    assert lighting.colour_temperature(white, region) == pytest.approx(6504, rel=0.01)  # sRGB's white is D65
    lamp = np.broadcast_to(np.array([255, 197, 143], np.uint8), (4, 4, 3))  # the yellow of an incandescent lamp
    assert 2900 < lighting.colour_temperature(lamp, region) < 4000
    assert lighting.colour_temperature(np.zeros((4, 4, 3), np.uint8), region) is None


def test_an_unknown_light_stays_open():
    result = lighting.measure(view(SMILING, tinted(SMILING, 1.2), "lighting", light="disco"), "photograph")
    assert result.passed is None
    assert "no verifier" in result.reason


# ------------------------------------------------------------------ background


def two_colours(picture, upper, lower):
    half = picture.shape[0] // 2
    top, bottom = new_background(picture, upper), new_background(picture, lower)
    return np.concatenate([top[:half], bottom[half:]])


BEACH = two_colours(SMILING, (90, 160, 225), (225, 200, 150))


@pytest.mark.parametrize(("asked", "output"), [
    ("forest", new_background(SMILING, (60, 110, 45))),
    ("studio", blur(new_background(SMILING, (150, 150, 152)), 0.7)),
    ("beach", BEACH),
])
def test_a_new_background_passes_and_the_others_fail(asked, output):
    assert background.measure(view(SMILING, output, "background", background=asked), "photograph").passed is True
    for other in {"forest", "studio", "beach"} - {asked}:
        assert background.measure(view(SMILING, output, "background", background=other), "photograph").passed is False


def test_an_old_background_fails_whatever_was_asked():
    for asked in ("forest", "a café in Paris"):
        result = background.measure(view(SMILING, vae_like(SMILING), "background", background=asked), "photograph")
        assert result.passed is False
        assert "background changed" in result.reason


@pytest.mark.parametrize("share", [0.5, 0.6, 0.7])
def test_the_source_pasted_small_brings_its_old_background_along(share):
    small = scaled(SMILING, round(share * SMILING.shape[0]))
    blue = np.broadcast_to(np.array([90, 130, 220], np.uint8), SMILING.shape)
    out = noisy(blue, 3)
    top, left = (out.shape[0] - small.shape[0]) // 2, (out.shape[1] - small.shape[1]) // 2
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    pasted = background.measure(view(SMILING, out, "background", background="beach"), "photograph")
    assert pasted.passed is False
    # The very same place and size, with the background really replaced.
    cut = scaled(new_background(SMILING, (90, 130, 220)), round(share * SMILING.shape[0]))
    out[top : top + small.shape[0], left : left + small.shape[1]] = cut
    done = background.measure(view(SMILING, out, "background", background="beach"), "photograph")
    assert done.passed is True
    assert done.detail["old_background_share"] < 0.3


def test_a_new_background_that_nothing_can_name_stays_open():
    result = background.measure(view(SMILING, BEACH, "background", background="a café in Paris"), "photograph")
    assert result.passed is None
    assert "nothing here can tell" in result.reason


# ------------------------------------------------------------------ expression


NEUTRAL = resized(portrait("president-standing"), 640, 512)


def test_a_smile_passes_and_its_opposite_fails():
    assert expression.measure(view(NEUTRAL, SMILING, "expression", expression="smile"), "photograph").passed is True
    assert expression.measure(view(SMILING, NEUTRAL, "expression", expression="smile"), "photograph").passed is False
    assert expression.measure(view(SMILING, NEUTRAL, "expression", expression="neutral"), "photograph").passed is True
    assert expression.measure(view(NEUTRAL, SMILING, "expression", expression="neutral"), "photograph").passed is False


def test_a_lost_face_fails_and_an_unknown_expression_stays_open():
    gone = np.full_like(SMILING, 120)
    assert expression.measure(view(SMILING, gone, "expression", expression="sad"), "photograph").passed is False
    assert expression.measure(view(SMILING, NEUTRAL, "expression", expression="smug"), "photograph").passed is None
    assert expression.measure(view(gone, SMILING, "expression", expression="sad"), "photograph").passed is None


# ------------------------------------------------------------------ unchanged, copied, own prompts


@pytest.mark.parametrize("output", [
    SMILING, vae_like(SMILING), warp(SMILING, 1.01, 2, 1), warp(SMILING, 1.05), noisy(SMILING, 6),
], ids=["same", "round trip", "shifted", "zoomed", "noise"])
def test_nothing_changed(output):
    assert unchanged.measure(view(SMILING, output), None).detail["no_op"] is True


@pytest.mark.parametrize("output", [
    tinted(SMILING, 1.15, 0.95, 0.7), BEACH, resized(MIRRORED, 640, 512),
], ids=["relit", "background", "other pose"])
def test_something_changed(output):
    result = unchanged.measure(view(SMILING, output), None)
    assert result.detail["no_op"] is False
    assert result.detail["regions"]


def test_a_small_local_edit_is_no_inaction_and_is_located():
    painted = SMILING.copy()
    cv2.circle(painted, (120, 90), 40, (250, 250, 20), -1)
    result = unchanged.measure(view(SMILING, painted), None)
    assert result.detail["no_op"] is False
    x, y, w, h = result.detail["regions"][0]
    assert x <= 120 <= x + w
    assert y <= 90 <= y + h
    assert w < 160


def test_more_change_is_never_less():
    values = [unchanged.measure(view(SMILING, tinted(SMILING, 1 + s)), None).value for s in (0, 0.05, 0.1, 0.2)]
    assert values == sorted(values)
    assert values[0] == 0


def test_a_mirrored_source_is_caught():
    mirror = np.ascontiguousarray(SMILING[:, ::-1])
    result = copy.measure(view(SMILING, warp(mirror, 1.01, 1, 0)), "photograph")
    assert result.detail["mirrored"] is True
    assert result.detail["copied"] is True


def test_a_pasted_subject_is_caught_when_it_should_have_moved():
    result = copy.measure(view(SMILING, BEACH, "camera", yaw_deg=45), "photograph")
    assert result.detail["pasted"] is True
    wanted = copy.measure(view(SMILING, BEACH, "background", background="beach"), "photograph")
    assert wanted.detail["copied"] is False


def test_another_picture_is_no_copy():
    result = copy.measure(view(SMILING, resized(astronaut(), 640, 512)), "photograph")
    assert result.detail["copied"] is False
    assert result.value < 0.5


def test_an_own_prompt_without_target_stays_open():
    result = trigger.measure(view(SMILING, scaled(SMILING, 640), "trigger"), "photograph")
    assert result.passed is None
    assert result.reason.startswith("not measured")
