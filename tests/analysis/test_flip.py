"""The flip card is exact: the stated change flips, nine tenths of it do not, and nothing smaller does."""

import numpy as np
import pytest

from whichlora.analysis.decide import Contender, Row, decide
from whichlora.analysis.flip import choice, flips

MUST = ("x", "y", "z")


def random_case(rng):
    found = []
    for i in range(int(rng.integers(2, 5))):
        lean, half = rng.uniform(0.3, 1.0, 3), rng.uniform(0.02, 0.2, 3)
        kind = "base" if i == 0 else str(rng.choice(["single", "stack"]))
        found.append(Contender(f"c{i}", kind, tuple(lean - half), tuple(lean + half), tuple(lean),
                               bool(rng.random() < 0.3)))
    return found


def after(found, flip, share):
    if flip.kind == "target":
        return decide(found, MUST, 0.7 + share * flip.change)
    at = MUST.index(flip.what)
    return decide([c.shifted(at, share * flip.change) if c.name == flip.candidate else c for c in found], MUST, 0.7)


@pytest.mark.parametrize("seed", range(5))
def test_stated_changes_flip_and_smaller_ones_do_not(seed):
    rng = np.random.default_rng(seed)
    said = 0
    for _ in range(25):
        found = random_case(rng)
        now = decide(found, MUST, 0.7)
        for flip in flips(found, MUST, 0.7, {}):
            said += 1
            assert choice(after(found, flip, 1.0)) != choice(now)
            assert choice(after(found, flip, 1.0)) == choice(flip.row)
            for share in (0.9, 0.5, 0.1, 0.99):
                assert choice(after(found, flip, share)) == choice(now), (flip, share)
    assert said > 40


def test_nothing_nearer_is_missed():
    """A fine grid of changes never flips before the stated one."""
    rng = np.random.default_rng(9)
    for _ in range(15):
        found = random_case(rng)
        now = decide(found, MUST, 0.7)
        stated = next((f for f in flips(found, MUST, 0.7, {}) if f.kind == "target"), None)
        reach = abs(stated.change) if stated else 0.25
        for step in np.linspace(-reach, reach, 61)[1:-1]:
            if 0 < 0.7 + step <= 1 and abs(step) < reach - 1e-6:
                assert choice(decide(found, MUST, 0.7 + step)) == choice(now)


def test_photographs_that_carry_the_choice_are_named():
    found = random_case(np.random.default_rng(0))
    now = decide(found, MUST, 0.7)
    card = flips(found, MUST, 0.7, {
        ("photo", "photo-1"): lambda: now, ("photo", "photo-2"): lambda: Row("custom", None, "gone", True)})
    assert [flip.what for flip in card if flip.kind == "photo"] == ["photo-2"]
