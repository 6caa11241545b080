"""No name, hash or metadata survives in the bytes that blind pages get."""

import io

import numpy as np
import pytest
from PIL import Image

from review import planted
from whichlora.errors import PhotoError
from whichlora.review.blinding import Encoder, Showing, Veil


@pytest.fixture
def secret_picture(tmp_path):
    path = tmp_path / "zebra-angles.png"
    path.write_bytes(planted.png("x", (10, 200, 30), (120, 160), secret="zebra-angles"))
    return path


def test_the_planted_picture_does_hide_a_name(secret_picture):
    assert b"zebra" in secret_picture.read_bytes()


@pytest.mark.parametrize("showing", [{}, {"longest_px": 64}, {"size": (60, 80)}])
def test_pixels_stay_and_everything_else_goes(secret_picture, showing):
    data = Encoder().encode(Showing(secret_picture, **showing))
    assert b"zebra" not in data
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert not {key for key in image.info if key not in ("loop", "background", "timestamp", "duration")}
        if not showing:
            with Image.open(secret_picture) as original:
                assert np.array_equal(np.asarray(image), np.asarray(original.convert("RGB")))


def test_blind_ids_are_fresh_each_time_and_viewer_ids_stay(secret_picture):
    veil, showing = Veil(), Showing(secret_picture)
    fresh = {veil.fresh(showing) for _ in range(50)}
    assert len(fresh) == 50
    assert veil.steady(showing) == veil.steady(showing)
    assert veil.steady(showing) not in fresh
    assert all(veil.find(key) == showing for key in fresh)


@pytest.mark.parametrize("key", ["", "..", "../../etc/passwd", "a" * 22, "A" * 21 + "/", "zebra-angles"])
def test_ids_that_were_not_given_find_nothing(key):
    assert Veil().find(key) is None


def test_ids_of_one_session_are_worth_nothing_in_another(secret_picture):
    key = Veil().fresh(Showing(secret_picture))
    assert Veil().find(key) is None


def test_a_missing_file_is_a_reason(tmp_path):
    with pytest.raises(PhotoError):
        Encoder().encode(Showing(tmp_path / "gone.png"))
