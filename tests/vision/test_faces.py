"""Faces on real portraits: found, told apart, and their pose read with the right sign."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from metrics.photos import OWN, astronaut, noisy, portrait, scaled, warp
from whichlora.vision import faces, mask
from whichlora.vision.pose import pose

ALL = (*OWN, "vice-president")


@pytest.mark.parametrize("name", ALL)
def test_one_face_is_found_and_its_points_are_in_order(name):
    found = faces.find(portrait(name))
    assert len(found) == 1
    eye_l, eye_r, nose, mouth_l, mouth_r = np.array(found[0].points)
    assert eye_l[0] < nose[0] < eye_r[0]
    assert mouth_l[0] < mouth_r[0]
    assert eye_l[1] < nose[1] < mouth_l[1]
    x, y, w, h = found[0].box
    for px, py in found[0].points:
        assert x < px < x + w
        assert y < py < y + h


def test_no_face_on_things():
    from skimage import data

    for thing in (data.coffee(), data.chelsea(), data.rocket()):
        assert faces.find(np.ascontiguousarray(thing)) == ()


def test_one_person_is_nearer_than_strangers():
    vectors = {name: faces.embed(portrait(name), faces.find(portrait(name))[0]) for name in ALL}
    vectors["astronaut"] = faces.embed(astronaut(), faces.find(astronaut())[0])
    same = [faces.distance(vectors[a], vectors[b]) for a, b in itertools.combinations(OWN, 2)]
    other = [faces.distance(vectors[a], vectors[b]) for a in OWN for b in ("vice-president", "astronaut")]
    assert max(same) < 0.5
    assert min(other) > 0.65


@pytest.mark.parametrize("longest", [160, 320, 1024])
def test_the_embedding_survives_scaling(longest):
    original = portrait("president-smiling")
    other = scaled(original, longest)
    near = faces.distance(faces.embed(original, faces.find(original)[0]), faces.embed(other, faces.find(other)[0]))
    assert near < 0.35


def test_boxes_follow_the_picture_size():
    original = portrait("president-speaking")
    small, large = (faces.find(scaled(original, side))[0] for side in (400, 800))
    assert np.allclose(np.array(large.box) / 2, np.array(small.box), rtol=0.08, atol=6)


def test_yaw_is_positive_when_the_face_looks_to_the_pictures_left():
    turned = portrait("president-speaking")  # his nose points to the picture's left
    mirrored = np.ascontiguousarray(turned[:, ::-1])
    straight, flipped = pose(turned, faces.find(turned)[0]), pose(mirrored, faces.find(mirrored)[0])
    assert straight.yaw_deg > 6
    assert flipped.yaw_deg < -6
    assert abs(straight.yaw_deg + flipped.yaw_deg) < 8


def test_a_raised_chin_means_a_lower_camera():
    raised, level = portrait("president-standing"), portrait("president-smiling")
    up, normal = (pose(item, faces.find(item)[0]).pitch_deg for item in (raised, level))
    assert up < normal - 10


def test_roll_is_measured_clockwise():
    import cv2

    straight = portrait("president-smiling")
    height, width = straight.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -20, 1)  # OpenCV counts counter-clockwise
    leaning = np.asarray(cv2.warpAffine(straight, matrix, (width, height), borderMode=cv2.BORDER_REFLECT))
    change = pose(leaning, faces.find(leaning)[0]).roll_deg - pose(straight, faces.find(straight)[0]).roll_deg
    assert change == pytest.approx(20, abs=3)


def test_the_similarity_transform_recovers_a_planted_one():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (5, 2)).astype(np.float32)
    angle, scale, shift = 0.4, 1.7, np.array([3.0, -8.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = faces.similarity_transform(points, (points @ turn.T + shift).astype(np.float32))
    assert np.allclose(found, np.hstack([turn, shift[:, None]]), atol=1e-3)


def test_the_person_mask_covers_the_face_and_not_the_corner():
    picture = portrait("president-smiling")
    found = mask.person(picture)
    x, y, w, h = (round(value) for value in faces.find(picture)[0].box)
    assert found.shape == picture.shape[:2]
    assert found[y : y + h, x : x + w].mean() > 0.8
    assert found[:30, :30].mean() < 0.1


def test_the_pose_does_not_depend_on_size_noise_or_crop():
    picture = portrait("president-smiling")
    others = [scaled(picture, 400), scaled(picture, 900), scaled(picture, 2000), noisy(picture, 4),
              warp(picture, 1.05, 8, 5)]
    poses = [pose(item, faces.find(item)[0]) for item in (picture, *others)]
    assert np.ptp([item.yaw_deg for item in poses]) < 4
    assert np.ptp([item.pitch_deg for item in poses]) < 4
