"""Drawn masks are kept only where they are shown to tell right from wrong better."""

import numpy as np
import pytest

from whichlora.analysis.masking import Labelled, compare


def rows(rng, drawn, default, photos=10, each=4):
    """Pictures whose values lie `drawn` and `default` standard deviations apart between right and wrong."""
    found = []
    for photo in range(photos):
        for number in range(each):
            right = number % 2 == 0
            noise = rng.normal()
            found.append(Labelled(f"p{photo}", right, right * drawn + rng.normal(), right * default + noise))
    return found


def test_better_masks_help_and_worse_ones_do_not():
    rng = np.random.default_rng(0)
    better = compare("subject", rows(rng, 4.0, 0.3))
    assert better.helps
    assert better.drawn > 0.9 > better.default
    worse = compare("subject", rows(rng, 0.3, 4.0))
    assert not worse.helps
    assert worse.high < 0


def test_equal_masks_seldom_help():
    rng = np.random.default_rng(1)
    assert sum(compare("identity", rows(rng, 1.0, 1.0)).helps for _ in range(100)) <= 6


def test_the_same_masks_never_help():
    found = compare("identity", [Labelled(f"p{i // 4}", i % 2 == 0, float(i % 7), float(i % 7)) for i in range(40)])
    assert found.gain == 0
    assert not found.helps


@pytest.mark.parametrize("photos", [2, 3])
def test_few_photographs_show_nothing(photos):
    found = compare("identity", rows(np.random.default_rng(2), 5.0, 0.0, photos=photos))
    assert found.low is None
    assert not found.helps
    assert found.note


def test_labels_that_are_all_alike_say_nothing():
    assert compare("identity", [Labelled("p", True, 1.0, 1.0)] * 5) is None


def test_masks_that_fail_at_some_pictures_replace_nothing():
    """However well they do on the others, which may be the easy ones."""
    found = rows(np.random.default_rng(0), 4.0, 0.3)
    assert compare("subject", found, lost=2).helps
    assert not compare("subject", found, lost=3).helps
