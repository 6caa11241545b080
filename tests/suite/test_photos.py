"""A look at source photographs: what is unfit is named, whose they are is told apart, missing views are listed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metrics.photos import OWN, PORTRAITS, astronaut, blur, new_background, portrait, scaled
from whichlora.errors import PhotoError
from whichlora.suite import photos
from whichlora.suite.photos import advice, already_satisfied, examine_photos, missing_views

OWN_FILES = [PORTRAITS / f"{name}.jpg" for name in OWN]


def saved(tmp_path, name, picture, **options):
    path = tmp_path / name
    Image.fromarray(picture).save(path, **options)
    return path


def test_good_photographs_of_one_person():
    seen = examine_photos(OWN_FILES)
    assert seen.kind == "photograph"
    assert seen.identities == 1
    assert len(seen.facts) == 3
    for facts in seen.facts:
        assert "unfit" not in facts
        assert facts["faces"] == 1
        assert facts["face_px"] > 100
        assert facts["sharpness"] > photos.SHARP_ENOUGH
    assert seen.facts[1]["yaw_deg"] > 6
    assert any("can be used" in note for note in seen.notes)


def test_the_odd_one_out_is_named():
    seen = examine_photos([*OWN_FILES, PORTRAITS / "vice-president.jpg"])
    assert seen.identities == 2
    assert seen.facts[3]["unfit"] == "seems to show somebody else"
    assert any("vice-president.jpg" in note and "somebody else" in note for note in seen.notes)
    assert all("odd_one_out" not in facts or not facts["odd_one_out"] for facts in seen.facts[:3])


def test_a_mixed_bag_is_no_project(tmp_path):
    files = [OWN_FILES[0], PORTRAITS / "vice-president.jpg", saved(tmp_path, "astronaut.png", astronaut())]
    seen = examine_photos(files)
    assert seen.identities == 3
    assert any("different characters" in note for note in seen.notes)


def test_a_recompressed_copy_is_a_duplicate(tmp_path):
    copy = saved(tmp_path, "again.jpg", scaled(portrait(OWN[0]), 400), quality=60)
    seen = examine_photos([*OWN_FILES, copy])
    assert seen.facts[3]["duplicate_of"] == f"{OWN[0]}.jpg"
    assert seen.facts[3]["unfit"] == f"repeats {OWN[0]}.jpg"
    assert all("duplicate_of" not in facts for facts in seen.facts[:3])


@pytest.mark.parametrize(("damage", "reason"), [
    (lambda p: blur(p, 9), "blurred"),
    (lambda p: (p * 0.04).astype(np.uint8), "far too dark"),
    (lambda p: scaled(p, 110), "the face is only"),
    (lambda p: np.clip(p.astype(int) + 235, 0, 255).astype(np.uint8), "far too bright"),
    (lambda p: p[-200:], "no face"),
])
def test_unfit_photographs_say_why(tmp_path, damage, reason):
    bad = saved(tmp_path, "bad.png", np.ascontiguousarray(damage(portrait(OWN[0]))))
    seen = examine_photos([OWN_FILES[1], OWN_FILES[2], bad], kind="photograph")
    assert seen.facts[2].get("unfit", "").startswith(reason)
    assert any("bad.png" in note for note in seen.notes)


def test_sharpness_falls_with_blur():
    from whichlora.suite._photo_facts import sharpness
    from whichlora.vision import faces

    face = faces.find(portrait(OWN[0]))[0]
    values = [sharpness(blur(portrait(OWN[0]), sigma), face) for sigma in (0, 1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 3 * values[3]


def test_several_people_are_noticed(tmp_path):
    both = np.zeros((640, 960, 3), np.uint8)
    both[:, :512] = portrait(OWN[0])
    both[:560, 512:] = portrait("vice-president")
    seen = examine_photos([*OWN_FILES[1:], saved(tmp_path, "both.png", both)])
    assert any("both.png" in note and "more than one person" in note for note in seen.notes)


def test_kinds_are_told_apart(tmp_path):
    from skimage import data

    cat = saved(tmp_path, "cat.png", np.ascontiguousarray(data.chelsea()))
    assert examine_photos([cat]).kind == "other"
    drawing = np.full((300, 300, 3), 240, np.uint8)
    drawing[60:200, 80:220] = (230, 180, 150)
    drawing[200:300, 40:260] = (60, 80, 200)
    assert examine_photos([saved(tmp_path, "drawing.png", drawing)]).kind == "drawn"
    assert examine_photos([cat], kind="drawn").kind == "drawn"


def test_missing_views_are_listed_by_where_the_camera_stood():
    facts = [{"yaw_deg": yaw, "brightness": light} for yaw, light in ((0, 30), (-30, 50), (30, 60))]
    (note,) = missing_views(facts, "photograph")
    assert "profile from the viewer's left and profile from the viewer's right" in note
    whole = [{"yaw_deg": yaw, "brightness": 30 + abs(yaw)} for yaw in (-80, -30, 0, 30, 80)]
    assert missing_views(whole, "figure") == []
    assert missing_views(facts, "drawn") == []
    unfit = [{**entry, "unfit": "blurred"} for entry in facts]
    assert missing_views(unfit, "photograph") == []


@pytest.mark.parametrize(("facts", "family", "target", "satisfied"), [
    ({"background": "beach"}, "background", {"background": "beach"}, True),
    ({"background": "beach"}, "background", {"background": "forest"}, False),
    ({"light": "sunset"}, "lighting", {"light": "Sunset"}, True),
    ({"expression": "smile"}, "expression", {"expression": "smile"}, True),
    ({"expression": "smile"}, "lighting", {"light": "smile"}, False),
    ({}, "background", {"background": "beach"}, False),
    ({"background_plain": True}, "background", {"background": "studio"}, True),
    ({"yaw_deg": 3.0}, "camera", {"view": "front"}, True),
    ({"yaw_deg": 40.0}, "camera", {"view": "front"}, False),
    ({"yaw_deg": 40.0}, "camera", {"yaw_deg": 45}, False),
    ({"yaw_deg": 170.0}, "camera", {"view": "back"}, True),
    ({}, "camera", {}, False),
])
def test_what_a_photograph_already_is(facts, family, target, satisfied):
    reason = already_satisfied(facts, family, target)
    assert bool(reason) is satisfied
    assert reason == "" or "already" in reason


def test_a_plain_background_is_recognised(tmp_path):
    plain = blur(new_background(portrait(OWN[0]), (150, 150, 152)), 0.6)
    seen = examine_photos([saved(tmp_path, "plain.png", plain), OWN_FILES[1]])
    assert [facts["background_plain"] for facts in seen.facts] == [True, False]


def test_advice_grows_with_the_set():
    assert len({advice(5), advice(10), advice(20)}) == 3
    for n, word in ((3, "five"), (5, "five"), (10, "ten"), (15, "ten"), (20, "twenty"), (90, "twenty")):
        assert f"set of {word}" in advice(n)


def test_bad_input_is_one_sentence(tmp_path):
    (tmp_path / "x.png").write_bytes(b"nonsense")
    for paths, kind in (([], "auto"), ([tmp_path / "x.png"], "auto"), ([tmp_path / "none.png"], "auto"),
                        (OWN_FILES, "dragon")):
        with pytest.raises(PhotoError) as caught:
            examine_photos(paths, kind=kind)
        assert caught.value.fix
