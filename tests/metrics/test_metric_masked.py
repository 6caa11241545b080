"""Masks that somebody else drew: read from a drawing, refused when it is none, and used for both measures."""

import numpy as np
import pytest

from whichlora.metrics.masked import Masked, agreement, blanked, masked, measure_under, read_mask


def drawing(size=64, level=255):
    picture = np.zeros((size, size, 3), np.uint8)
    picture[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = level
    return picture


def test_a_drawn_mask_is_read_at_the_pictures_size():
    found = read_mask(drawing(64), 128, 96)
    assert found.shape == (128, 96)
    assert abs(found.mean() - 0.25) < 0.02
    assert found[64, 48]
    assert not found[2, 2]


@pytest.mark.parametrize("picture", [
    np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8), drawing(64, 40),
    np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8),
    np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2),
])
def test_what_is_no_mask_is_refused(picture):
    assert read_mask(picture, 64, 64) is None


def test_everything_but_the_subject_is_grey():
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[2:5, 2:5] = True
    shown = blanked(picture, mask)
    assert np.array_equal(shown[mask], picture[mask])
    assert (shown[~mask] == 128).all()


def test_structure_is_compared_inside_the_mask_only():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
    output = source.copy()
    output[:, :40] = rng.integers(0, 255, (96, 40, 3), dtype=np.uint8)
    right, wrong = np.zeros((96, 96), bool), np.zeros((96, 96), bool)
    right[:, 60:] = True
    wrong[:, :60] = True
    pairs = [(Masked("s", source, right, wrong), Masked("o", output, right, wrong))]
    drawn = measure_under("drawn", [], pairs, "other")[0]
    default = measure_under("default", [], pairs, "other")[0]
    assert drawn["subject"] == pytest.approx(1.0)
    assert default["subject"] < 0.6
    assert drawn["identity"] is None
    without = [(pairs[0][0], Masked("o", output, None, wrong))]
    assert measure_under("drawn", [], without, "other")[0] == {"identity": None, "subject": None}


def test_agreement_is_the_overlap_of_both_masks():
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[:2], other[:3] = True, True
    picture = np.zeros((4, 4, 3), np.uint8)
    assert agreement([Masked("a", picture, one, other)]) == pytest.approx(2 / 3)
    assert agreement([Masked("a", picture, None, other)]) is None
    assert masked("a", drawing(), None, "other").drawn is None
