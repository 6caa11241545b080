"""A weight sweep finds planted optima and does not flatter its pick."""

import numpy as np
import pytest

from whichlora.analysis import sweeping
from whichlora.analysis.sweeping import COARSE, HIGHEST, LOWEST, Point, next_weights, optimum, search


def chances(weight, best, width=0.18):
    """Edit rises and identity falls with the weight; their product is highest at `best`."""
    edit = 1 / (1 + np.exp(-(weight - (best - 1.6 * width)) / (0.3 * width)))
    identity = 1 / (1 + np.exp((weight - (best + 1.6 * width)) / (0.3 * width)))
    return edit, identity


def exact(weights, best, cells=10_000):
    return [Point(w, float(np.prod(chances(w, best))), *map(float, chances(w, best)), cells) for w in weights]


def drawn(rng, weights, best, cells):
    found = []
    for weight in weights:
        edit, identity = (rng.random(cells) < chance for chance in chances(weight, best))
        found.append(Point(weight, float((edit & identity).mean()), float(edit.mean()), float(identity.mean()), cells))
    return found


@pytest.mark.parametrize("best", [0.3, 0.45, 0.62, 0.8, 0.97, 1.13, 1.3, 1.6])
def test_without_noise_the_optimum_is_found_wherever_it_lies(best):
    calls = []
    points, found = search(lambda weights: calls.append(weights) or exact(weights, best))
    assert abs(found.weight - best) <= 0.051
    assert found.low <= best <= found.high
    assert calls[0] == COARSE
    assert len(points) <= 14
    assert len({p.weight for p in points}) == len(points)


@pytest.mark.parametrize("best", [0.62, 0.8, 1.0])
def test_with_noise_it_is_mostly_within_a_tenth(best):
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(60):
        _, found = search(lambda weights: drawn(rng, weights, best, 36))
        errors.append(abs(found.weight - best))
    assert np.mean(np.array(errors) <= 0.1 + 1e-9) >= 0.9


def test_a_plateau_gives_its_middle_and_a_flat_curve_the_middle_of_all():
    points = [Point(w, 1.0 if 0.7 <= w <= 0.9 else 0.1, 1, 1, 100) for w in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)]
    assert optimum(points).weight == pytest.approx(0.8)
    assert optimum([Point(w, 0.5, 1, 1, 100) for w in (0.6, 0.8, 1.0)]).weight == pytest.approx(0.8)
    assert optimum([Point(1.0, 0.5, 1, 1, 10)]).weight == 1.0


def test_a_second_hill_behind_a_valley_does_not_pull():
    rates = {0.4: 0.9, 0.5: 0.95, 0.6: 0.9, 0.8: 0.1, 1.0: 0.1, 1.2: 0.88, 1.3: 0.9}
    assert optimum([Point(w, r, 1, 1, 400) for w, r in rates.items()]).weight == pytest.approx(0.5, abs=0.051)


def test_a_sweep_stays_within_its_bounds_and_ends():
    for slope in (-1, 1):
        points, found = search(lambda weights, s=slope: [Point(w, 0.5 + 0.2 * s * (w - 1), 1, 1, 5_000)
                                                         for w in weights])
        assert all(LOWEST <= point.weight <= HIGHEST for point in points)
        assert (found.weight - 1) * slope > 0
        assert found.at_edge == slope
    assert next_weights(exact(COARSE, 0.8), 99) == ()


def test_beyond_the_edge_a_sweep_strides():
    """With the best far below the grid, each round goes further than the tenth around the optimum would."""
    calls = []
    search(lambda weights: calls.append(weights) or exact(weights, 0.3))
    assert min(calls[1]) == pytest.approx(0.45)
    calls.clear()
    search(lambda weights: calls.append(weights) or exact(weights, 1.6))
    assert max(calls[1]) == pytest.approx(1.5)


def test_weights_without_a_picture_do_not_stop_it():
    points, found = search(lambda weights: [p for p in exact(weights, 0.8) if p.weight < 1.2])
    assert abs(found.weight - 0.8) <= 0.051
    assert max(p.weight for p in points) < 1.2
    with pytest.raises(ValueError, match="no weight"):
        search(lambda weights: [])


def arrays(rng, rate, photos, cells):
    passed = rng.binomial(cells, rate, (2, photos))
    return passed / cells, np.full((2, photos), float(cells))


def test_the_pick_is_judged_on_other_photographs_and_not_flattered():
    """All weights are equally good: the pick looks better than it is where it was picked, not where it is judged."""
    rng = np.random.default_rng(5)
    flattered, judged, switched = [], [], 0
    for _ in range(200):
        points, best = search(lambda weights: [Point(w, rng.binomial(12, 0.6) / 12, 1, 1, 12) for w in weights])
        top = max(point.rate for point in points)
        held = {name: arrays(rng, 0.6, 6, 2) for name in ("pick", "own", "base")}
        result = sweeping.conclude(points, best, held, (1.0, 1.0))
        flattered.append(top - 0.6)
        judged.append(result.held_out.value - 0.6)
        switched += result.use == "pick"
    assert np.mean(flattered) > 0.08
    assert abs(np.mean(judged)) < 0.02
    assert switched <= 0.05 * 200


def test_a_pick_that_is_truly_better_is_used_and_a_worse_one_is_not():
    rng = np.random.default_rng(6)
    points, best = search(lambda weights: exact(weights, 0.7))
    good = {"pick": arrays(rng, 0.95, 8, 4), "own": arrays(rng, 0.2, 8, 4), "base": arrays(rng, 0.3, 8, 4)}
    result = sweeping.conclude(points, best, good, (0.9, 0.8))
    assert result.use == "pick"
    assert result.against_base.low > 0
    assert sweeping.conclude(points, best, {**good, "own": good["pick"], "pick": good["own"]}, (1, 1)).use == "own"
    alone = {"pick": good["pick"], "base": good["base"]}
    assert sweeping.conclude(points, best, alone, (1, 1)).use == "own"
    with pytest.raises(ValueError, match="no scored picture"):
        sweeping.conclude(points, best, {"pick": (np.full((2, 3), np.nan), np.zeros((2, 3)))}, (1, 1))


def test_halves_share_no_photograph():
    first, second = sweeping.halves([f"p{i}" for i in range(7)])
    assert set(first).isdisjoint(second)
    assert len(first) == 4
    assert len(second) == 3
