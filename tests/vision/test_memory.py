"""What was worked out of a picture is remembered by its content; of one that comes again, for as long as it fits."""

import numpy as np
import pytest

from whichlora.vision import memory
from whichlora.vision.memory import frozen, lasting, remembered


@pytest.fixture
def counted(monkeypatch):
    """A function that remembers two results, and the pictures that it was really asked about."""
    monkeypatch.setattr(memory, "_lasting", type(memory._lasting)())
    monkeypatch.setattr(memory, "_kept", memory._Kept())
    asked = []

    @remembered(2)
    def total(picture, other=None, offset=0):
        asked.append(picture)
        return np.full(1000, int(picture.sum()) + (0 if other is None else int(other.sum())) + offset)

    return total, asked


def picture(number):
    return np.full((4, 4, 3), number, np.uint8)


def test_by_content_and_by_every_argument(counted):
    total, asked = counted
    assert total(picture(1))[0] == 48
    assert total(frozen(picture(1)))[0] == 48
    assert len(asked) == 1
    assert total(picture(1), offset=2)[0] == 50
    assert total(picture(1), picture(2))[0] == 144
    assert len(asked) == 3
    assert total(picture(1))[0] == 48  # two others came in between
    assert len(asked) == 4


def test_a_changed_picture_is_another_one(counted):
    total, _ = counted
    canvas = picture(1)
    total(canvas)
    canvas[0, 0, 0] = 9
    assert total(canvas)[0] == 48 + 8
    with pytest.raises(ValueError, match="read-only"):
        frozen(canvas)[0, 0, 0] = 1


def test_a_lasting_picture_outlives_the_others_and_a_pair_with_another_does_not(counted):
    total, asked = counted
    source = lasting(picture(1))
    total(source)
    total(source, picture(7))
    for number in range(2, 12):
        total(picture(number))
    seen = len(asked)
    assert total(picture(1))[0] == 48  # the same content, another object
    assert len(asked) == seen
    total(source, picture(7))
    assert len(asked) == seen + 1
    total.forget()
    total(source)
    assert len(asked) == seen + 2


def test_what_was_known_before_a_picture_was_declared_lasting_is_kept_too(counted):
    total, asked = counted
    total(picture(1))
    total(lasting(picture(1)))
    for number in range(2, 12):
        total(picture(number))
    total(picture(1))
    assert len(asked) == 11


def test_lasting_results_keep_to_their_bytes(counted, monkeypatch):
    total, asked = counted
    monkeypatch.setattr(memory, "LASTING_BYTES", 3 * 8200)
    for number in range(5):
        total(lasting(picture(number)))
    assert memory._kept._bytes <= 3 * 8200
    assert len(memory._kept._results) == 3
    total(picture(4))
    assert len(asked) == 5
    total(picture(0))
    assert len(asked) == 6
