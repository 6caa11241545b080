"""Planted bugs: each is a mistake that other tools make, and each must be noticed by a check of these tests."""

import numpy as np
import pytest

from analysis.small_worlds import FAMILIES, PLANTED, rng, world
from whichlora.analysis import cells, decide, evidence, flip, lint, table
from whichlora.analysis.analyse import analyse
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.prose import texts
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import project_of, table_of
from whichlora.stats import multiple, rates, shrinkage
from whichlora.types import Score

QUICK = Settings(draws=200)


def interval_covers():
    r = np.random.default_rng(1)
    own = r.beta(0.7 * 4, 0.3 * 4, (3_000, 8))
    low, high, *_ = rates.new_photo_bounds(r.binomial(16, own) / 16, 16)
    assert np.mean((low <= 0.7) & (high >= 0.7)) > 0.91


def family_is_held():
    r = np.random.default_rng(2)
    equal = {"base": (0.6,) * 4, **{f"l{i}": (0.6,) * 4 for i in range(8)}}
    planted = world(equal, photos=9, seeds=1, icc=0.3)
    false = sum(
        any(abs(p) <= 0.05 for p in evidence.compared(table_of(planted, r), range(9), FAMILIES, FAMILIES).values())
        for _ in range(60)
    )
    assert false <= 8


def told(name, scores_of=lambda s: s, **more):
    plan, generations, scores = project_of(PLANTED[name][0], rng(), **more)
    return analyse(plan, generations, scores_of(scores), settings=QUICK)


def failures_count():
    plan, generations, scores = project_of(PLANTED["existing"][0], rng())
    broken = [type(g)(g.cell, "failed", None, g.seconds, 0) if "angles" in g.cell and i % 2 else g
              for i, g in enumerate(generations)]
    row = next(r for r in analyse(plan, broken, scores, settings=QUICK).candidates if r.name == "angles")
    assert row.ccr.value < 0.6


def silence_is_not_consent():
    def silent(scores):
        return [Score(s.cell, s.metric, 1, None, "not measured", None, s.gate) if s.gate == "identity" else s
                for s in scores]

    found = told("existing", silent)
    assert found.recommendation.decision == "undecided"
    assert all(row.p_identity is None and row.cells["unscored"] > 0 for row in found.candidates if row.role == "base")


def controls_stay_out():
    planted = world({"base": (0.3,) * 4, "style": (0.4,) * 4, "control:real-pair": (0.99,) * 4})
    assert analyse(*project_of(planted, rng()), settings=QUICK).recommendation.decision == "custom"


def open_is_not_firm():
    assert not told("undecided").recommendation.firm


def winner_is_corrected():
    r = np.random.default_rng(3)
    errors = []
    for _ in range(200):
        y = r.binomial(8, r.beta(5.85, 3.15, (12, 10))) / 8
        errors.append(shrinkage.shrink(y, 8).rates()[y.mean(axis=1).argmax()] - 0.65)
    assert abs(np.mean(errors)) < 0.025


def flips_are_the_nearest():
    found = evidence.contenders(table_of(PLANTED["existing"][0], rng()), FAMILIES, Settings(), {})
    now = decide.decide(found, FAMILIES, 0.7)
    change = next(f.change for f in flip.flips(found, FAMILIES, 0.7, {}) if f.kind == "target")
    assert flip.choice(decide.decide(found, FAMILIES, 0.7 + 0.9 * change)) == flip.choice(now)
    assert flip.choice(decide.decide(found, FAMILIES, 0.7 + change)) != flip.choice(now)


def base_is_preferred_when_it_suffices():
    planted = world({"base": (0.92,) * 4, "angles": (0.95,) * 4, "style": (0.4,) * 4}, photos=24, icc=0.0)
    found = analyse(*project_of(planted, rng()), settings=QUICK)
    assert found.candidates[1].ccr.value > found.candidates[0].ccr.value
    assert found.recommendation.candidate == "base"


def prose_is_bound():
    found = told("existing")
    assert not [p for text in texts(found) for p in lint.lint(text, found)]


CHECKS = [
    interval_covers, family_is_held, failures_count, silence_is_not_consent, controls_stay_out, open_is_not_firm,
    winner_is_corrected, flips_are_the_nearest, base_is_preferred_when_it_suffices, prose_is_bound,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_checks_hold_without_sabotage(check):
    check()


def pooled_cells(values, cells_per_photo):
    """Bug: every cell is a unit."""
    y = np.asarray(values)
    return np.full(y.shape[:-1], y.shape[-1] * cells_per_photo), 1e9


def failed_are_dropped(planned, cases, generations, scores):
    """Bug: failed generations leave the denominator."""
    kept = {name: g for name, g in generations.items() if g.status == "done"}
    return REAL["judge"](planned, cases, kept, scores)


def everything_in_play(tab):
    """Bug: control rows compete."""
    return list(range(len(tab.candidates)))


def silence_passes(gate, case, scores):
    """Bug: a gate without an answer is passed."""
    told_ = REAL["_gate"](gate, case, scores)
    return True if told_ is None else told_


def uncorrected(differences, absent=0):
    """Bug: every comparison at its own 5 %."""
    from whichlora.stats.paired import sign_flip_p

    return np.array([sign_flip_p(column[~np.isnan(column)]) for column in np.asarray(differences).T])


def point_estimate_decides(low, high, target):
    """Bug: the middle of the interval is compared with the target."""
    return "PASS" if (low + high) / 2 >= target else "FAIL"


def no_shrinkage(y, variance):
    """Bug: the best keeps its luck."""
    return 1e-9


def half_way(levels, moved, now):
    """Bug: the flip card states a change that is too large."""
    hit = REAL["_nearest"](levels, moved, now)
    return None if hit is None else (1.3 * hit[0], hit[1])


def best_score_wins(contender):
    """Bug: a better LoRA is assumed better without evidence."""
    return REAL["better"](contender) or True


def unstored(self, name, value, unit):
    """Bug: a number is printed but not stored."""
    from whichlora.analysis.ledger import as_text

    return as_text(value, unit)


REAL = {"judge": cells.judge, "_gate": cells._gate, "_nearest": flip._nearest, "better": evidence.better}
BUGS = [
    (interval_covers, rates, "effective_size", pooled_cells),
    (family_is_held, evidence, "max_t", uncorrected),
    (failures_count, "whichlora.analysis.analyse", "judge", failed_are_dropped),
    (silence_is_not_consent, cells, "_gate", silence_passes),
    (controls_stay_out, evidence, "in_play", everything_in_play),
    (open_is_not_firm, decide, "state_of", point_estimate_decides),
    (winner_is_corrected, shrinkage, "_contrast_share", no_shrinkage),
    (flips_are_the_nearest, flip, "_nearest", half_way),
    (base_is_preferred_when_it_suffices, evidence, "better", best_score_wins),
    (prose_is_bound, Ledger, "put", unstored),
]


@pytest.mark.parametrize(("check", "where", "name", "bug"), BUGS, ids=[bug[3].__name__ for bug in BUGS])
def test_planted_bugs_are_noticed(check, where, name, bug, monkeypatch):
    if isinstance(where, str):
        monkeypatch.setattr(f"{where}.{name}", bug)
    else:
        monkeypatch.setattr(where, name, bug)
    with pytest.raises(AssertionError):
        check()


def test_the_lists_name_real_things():
    assert {bug[0] for bug in BUGS} == set(CHECKS)
    assert table.WHOLE == ("identity", "artefacts")
    assert multiple.max_t is evidence.max_t
