"""Every metric, real photographs: the source itself scores best, and more damage never scores better."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import pytest

from metrics.photos import blend, blur, face_onto, grid, hue, noisy, person, portrait, scaled, view, warp
from whichlora import registry
from whichlora.metrics.scoring import measure_picture, prepare_all

SOURCE = scaled(portrait("president-smiling"), 512)
OTHER = scaled(portrait("vice-president"), 512)
NAMES = [
    name for name in registry.names("metrics")
    # Whether an edit was done is judged the other way round (doing nothing fails), and costs are no matter of pixels.
    if not name.startswith(("cost/", "following/"))
]
LADDERS = {
    "blur": lambda dose: blur(SOURCE, 1.2 * dose),
    "noise": lambda dose: noisy(SOURCE, 5.0 * dose),
    "grid": lambda dose: grid(SOURCE, 4.0 * dose),
    "hue": lambda dose: hue(SOURCE, 15 * dose),
    "zoom": lambda dose: warp(SOURCE, 1 + 0.012 * dose, dose, -dose),
    "another face": lambda dose: face_onto(SOURCE, OTHER, dose / 4),
    "fading": lambda dose: blend(SOURCE, np.full_like(SOURCE, 90), dose / 6),
}
DOSES = (0, 1, 2, 4)
SLACK = {"identity/face": 6.0, "artifacts/texture": 4.0, "identity/attributes": 0.03, "drift/zoom": 0.05,
         "artifacts/banding": 0.5, "artifacts/clipping": 0.5}
"""Steps back that are measurement noise, in the metric's unit: percents, a share, percent of the diagonal."""


@lru_cache(maxsize=1)
def prepared():
    return prepare_all(person(), NAMES)


@lru_cache(maxsize=64)
def measured(ladder: str, dose: int):
    output = SOURCE if dose == 0 else np.ascontiguousarray(LADDERS[ladder](dose))
    what = view(SOURCE, output, "expression", ("identity", "background"), expression="smile")
    return measure_picture(what, prepared(), NAMES)


def badness(name: str, found) -> float:
    """The figure so that less is better; a failure without a figure is the worst."""
    if found.value is None:
        return float("inf") if found.passed is False else float("nan")
    return found.value if registry.load("metrics", name).better == "lower" else -found.value


@pytest.mark.parametrize("ladder", LADDERS)
def test_more_damage_is_never_better(ladder):
    for name in NAMES:
        if registry.load("metrics", name).better == "neither":
            continue
        if ladder == "zoom" and name != "drift/zoom":
            continue  # alignment takes the zoom out of every other metric, so that it is counted once
        values = [badness(name, measured(ladder, dose)[name]) for dose in DOSES]
        told = [value for value in values if not np.isnan(value)]
        slack = SLACK.get(name, 0.02 * max(1.0, abs(told[0])) if told and np.isfinite(told[0]) else 0.02)
        assert all(b >= a - slack for a, b in itertools.pairwise(told)), (name, values)
        assert all(value >= told[0] - slack for value in told), (name, values)


def test_the_source_itself_has_nothing_wrong():
    found = measured("blur", 0)
    assert found["identity/face"].passed is True
    assert found["artifacts/severe"].value == 0
    assert found["preservation/psnr"].value == 60
    assert found["preservation/ssim"].value == pytest.approx(1, abs=1e-6)
    assert found["preservation/lpips"].value < 1e-3
    assert found["drift/zoom"].value < 0.02
    assert found["identity/attributes"].value > 0.9


@pytest.mark.parametrize(("ladder", "name"), [
    ("blur", "preservation/lpips"), ("noise", "preservation/psnr"), ("grid", "artifacts/grid"), ("hue", "drift/colour"),
    ("zoom", "drift/zoom"), ("another face", "identity/face"), ("fading", "preservation/ssim"),
    ("blur", "artifacts/texture"),
])
def test_each_kind_of_damage_is_seen_by_the_metric_that_is_made_for_it(ladder, name):
    assert badness(name, measured(ladder, 4)[name]) > badness(name, measured(ladder, 0)[name])
