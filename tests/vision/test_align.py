"""Planted zooms and shifts are recovered; what cannot be registered is said so; LPIPS grows with damage."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metrics.photos import astronaut, blur, noisy, portrait, scaled, warp
from whichlora.vision.align import register, undrifted
from whichlora.vision.lpips import lpips

LADDER = [(1.0, 0.0, 0.0), (1.005, 0.0, 0.0), (1.01, 2.0, -1.5), (1.02, 6.0, -4.0), (1.05, 3.0, 3.0), (0.98, 0.3, 0.4)]


def repainted(picture, seed=1):
    """The subject painted over and noise added, as an edit would leave it."""
    out = picture.copy()
    height, width = out.shape[:2]
    cv2.ellipse(out, (width // 2, height // 2), (width // 6, height // 4), 0, 0, 360, (90, 140, 60), -1)
    return noisy(out, 4, seed)


@pytest.mark.parametrize("picture", [astronaut(), scaled(portrait("president-smiling"), 1024)], ids=["512", "1024"])
@pytest.mark.parametrize(("scale", "dx", "dy"), LADDER)
def test_zoom_within_a_thousandth_and_shift_within_a_fifth_of_a_pixel(picture, scale, dx, dy):
    found = register(picture, repainted(warp(picture, scale, dx, dy)))
    assert found.found
    assert found.scale == pytest.approx(scale, abs=1e-3)
    assert found.dx_px == pytest.approx(dx, abs=0.2)
    assert found.dy_px == pytest.approx(dy, abs=0.2)


@pytest.mark.parametrize(("scale", "dx", "dy"), LADDER)
def test_alignment_restores_the_background_to_within_one_decibel(scale, dx, dy):
    picture = astronaut()
    clean, drifted = repainted(picture), repainted(warp(picture, scale, dx, dy))
    hidden = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(hidden, (256, 256), (120, 170), 0, 0, 360, 1, -1)
    moved, inside, _ = undrifted(picture, drifted)

    def background_db(output, where):
        return 10 * np.log10(255**2 / np.mean((picture[where].astype(float) - output[where]) ** 2))

    where = (hidden == 0) & inside
    best = background_db(clean, where)
    assert background_db(moved, where) > best - 1
    if scale >= 1.01:  # and without alignment the metric would have been ruined
        assert background_db(drifted, where) < best - 8


def test_equal_pictures_are_left_alone():
    moved, inside, found = undrifted(astronaut(), astronaut())
    assert np.array_equal(moved, astronaut())
    assert inside.all()
    assert found.scale == pytest.approx(1, abs=1e-4)


def test_what_cannot_be_registered_is_not_guessed():
    flat = np.full((256, 256, 3), 120, np.uint8)
    assert not register(flat, flat).found
    assert not register(astronaut(), np.ascontiguousarray(portrait("vice-president")[:512, :448])[:, :].copy()).found
    noise = noisy(flat, 60)
    assert not register(astronaut()[:256, :256].copy(), noise).found


def test_another_picture_is_no_drift():
    assert not register(astronaut(), warp(astronaut(), 1.6)).found


def test_lpips_is_zero_for_equals_and_grows_with_damage():
    picture = astronaut()
    assert lpips(picture, picture) < 1e-4
    for damage in (blur, noisy):
        ladder = [lpips(picture, damage(picture, amount)) for amount in (1, 3, 6, 12)]
        assert ladder == sorted(ladder)
        assert ladder[1] > 0.01
    assert lpips(picture, blur(picture, 3)) == pytest.approx(lpips(blur(picture, 3), picture), abs=1e-3)


def test_lpips_refuses_two_shapes():
    with pytest.raises(ValueError, match="one shape"):
        lpips(astronaut(), astronaut()[:256])
