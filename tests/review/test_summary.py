"""What votes say: planted agreement is found, useless and perverse metrics lose their say, people outvote machines."""

import json

import numpy as np
import pytest

from review import planted
from whichlora.review.board import build_board
from whichlora.review.pairing import choose_pair
from whichlora.review.summary import summarise
from whichlora.review.votes import Extremes, PairVote, Rating, TakenBack, new_id, now
from whichlora.types import Generation, Score

PLAN = planted.make_plan(photos=12)
MADE = {cell.id: Generation(cell.id, "done", f"{n:064x}", {}, 0) for n, cell in enumerate(PLAN.cells)}
BOARD = build_board(PLAN, MADE)
HIGHER = lambda name: "higher"  # noqa: E731
QUALITY = np.random.default_rng(0).normal(0, 1, len(PLAN.cells))
SKILL = dict(zip((c.name for c in PLAN.candidates), (-0.5, 1.0, 0.0, 0.0, 0.0), strict=True))
LIKING = {cell.id: QUALITY[n] + SKILL[cell.candidate] for n, cell in enumerate(PLAN.cells)}


def level(cell, rng=None, spread=0.0):
    liking = LIKING[cell] + (rng.normal(0, spread) if rng is not None else 0)
    return int(np.clip(round(3.5 + 1.2 * liking), 1, 5))


def ratings(raters=("Ada", "Bob"), count=90, spread=0.3):
    rng = np.random.default_rng(1)
    cells = rng.choice(sorted(BOARD.where), count, replace=False)
    return [
        Rating(new_id(), rater, now(), str(cell), level(cell, rng, spread), level(cell, rng, spread))
        for rater in raters for cell in cells
    ]


def pairs(count=160, rater="Ada", noise=0.5):
    rng = np.random.default_rng(2)
    given = []
    for _ in range(count):
        pair = choose_pair(BOARD, given, "identity", rater, rng)
        gap = LIKING[pair.left] - LIKING[pair.right] + rng.normal(0, noise)
        answer = "tie" if abs(gap) < 0.2 else "left" if gap > 0 else "right"
        given.append(PairVote(new_id(), rater, now(), "identity", pair.left, pair.right, answer, pair.why, pair.chance,
                              pair.repeats))
    return given


def machine(**values):
    """Scores of metrics given as functions of the cell."""
    return [
        Score(cell, name.replace("__", "/"), 1, float(value), "", bool(value > 0.2), gate)
        for name, (gate, how) in values.items() for cell in BOARD.where for value in [how(cell)]
    ]


RNG = np.random.default_rng(3)
SCORES = machine(
    identity__good=("identity", lambda c: LIKING[c] + RNG.normal(0, 0.4)),
    identity__blind=("identity", lambda c: RNG.normal()), identity__perverse=("identity", lambda c: -LIKING[c]),
)


@pytest.fixture(scope="module")
def summary():
    return summarise(PLAN, MADE, SCORES, [*ratings(), *pairs()], direction=HIGHER)


def by(rows, key, value):
    return next(row for row in rows if row[key] == value)


def test_it_is_plain_data(summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_only_a_metric_that_agrees_with_people_may_decide(summary):
    good, blind, perverse = (by(summary["metrics"], "metric", f"identity/{n}") for n in ("good", "blind", "perverse"))
    assert good["may_decide"] is True
    assert good["auc"]["low"] > 0.5
    assert good["tau_b"]["value"] > 0.4
    assert good["pairs"]["value"] > 0.7
    assert blind["may_decide"] is False
    assert "chance" in blind["why"]
    assert perverse["may_decide"] is False
    assert "opposite" in perverse["why"]
    assert any("identity/blind may not decide" in line for line in summary["sentences"])


def test_pair_votes_alone_can_judge_a_metric():
    told = summarise(PLAN, MADE, SCORES, pairs(), direction=HIGHER)
    assert by(told["metrics"], "metric", "identity/good")["may_decide"] is True
    assert by(told["metrics"], "metric", "identity/perverse")["may_decide"] is False


def test_a_few_votes_leave_a_metric_open():
    told = summarise(PLAN, MADE, SCORES, pairs(6), direction=HIGHER)
    assert by(told["metrics"], "metric", "identity/blind")["may_decide"] is None


def test_a_metric_without_variety_and_one_with_few_bad_pictures_stay_open():
    flat = machine(identity__flat=("identity", lambda c: 1.0))
    assert by(summarise(PLAN, MADE, flat, ratings(), direction=HIGHER)["metrics"], "metric",
              "identity/flat")["may_decide"] is None
    kind = [Rating(v.id, v.rater, v.at, v.cell, 5 if n > 3 else 1, 5) for n, v in enumerate(ratings(("Ada",)))]
    told = summarise(PLAN, MADE, SCORES, kind, direction=HIGHER)
    assert by(told["metrics"], "metric", "identity/blind")["may_decide"] is not True
    assert "opposite" not in by(told["metrics"], "metric", "identity/blind")["why"]


def test_lower_is_better_turns_a_metric_round():
    told = summarise(PLAN, MADE, SCORES, ratings(), direction=lambda n: "lower" if n.endswith("perverse") else "higher")
    assert by(told["metrics"], "metric", "identity/perverse")["may_decide"] is True


def test_an_unknown_metric_takes_its_direction_from_its_verdicts():
    told = summarise(PLAN, MADE, SCORES, ratings(), direction=lambda n: "neither")
    assert by(told["metrics"], "metric", "identity/good")["may_decide"] is True


def test_the_planted_best_leads_with_an_interval_above_base(summary):
    row = summary["questions"]["identity"]["candidates"][0]
    assert row["name"] == PLAN.candidates[1].name
    assert row["against_base"]["low"] > 0
    assert row["p_best"] > 0.9
    assert summary["questions"]["edit"]["note"] == "no votes yet"


def test_voters_who_agree_have_a_high_alpha_and_careless_ones_a_low_one(summary):
    assert summary["agreement"]["identity"]["value"] > 0.8
    assert summary["agreement"]["self"]["Ada"]["value"] > 0.6
    careless = ratings(spread=5.0)
    told = summarise(PLAN, MADE, SCORES, careless, direction=HIGHER)
    assert told["agreement"]["identity"]["value"] < 0.667
    assert any("do not agree enough" in line for line in told["sentences"])


def test_a_machine_that_flatters_one_candidate_is_found():
    favourite = PLAN.candidates[2].name
    names = {cell.id: cell.candidate for cell in PLAN.cells}
    flattering = machine(identity__partial=(
        "identity", lambda c: 1.0 if names[c] == favourite else LIKING[c]))
    told = summarise(PLAN, MADE, flattering, ratings(count=180), direction=HIGHER)
    rows = by(told["metrics"], "metric", "identity/partial")["calibration"]
    assert by(rows, "name", favourite)["low"] > 0
    assert by(rows, "name", PLAN.candidates[1].name)["low"] < 0.2


def test_powered_rates_stand_beside_the_machines_own(summary):
    row = by(summary["rates"], "name", PLAN.candidates[1].name)
    assert row["low"] < row["value"] < row["high"]
    assert row["alone"]["high"] - row["alone"]["low"] > 0
    few = summarise(PLAN, MADE, SCORES, ratings(count=8), direction=HIGHER)
    assert all(row["value"] is None and "fewer than 10" in row["note"] for row in few["rates"])


def test_pictures_that_a_person_chose_do_not_stand_for_all():
    said = [Rating(v.id, v.rater, v.at, v.cell, v.identity, v.edit, drawn=False) for v in ratings()]
    told = summarise(PLAN, MADE, SCORES, said, direction=HIGHER)
    assert all(row["value"] is None for row in told["rates"])


def test_disagreements_name_their_pictures():
    cell = sorted(BOARD.where)[0]
    scores = [Score(cell, "identity/x", 1, 1.0, "", True, "identity")]
    told = summarise(PLAN, MADE, scores, [Rating(new_id(), "Ada", now(), cell, 1, 5, (), "wrong nose")])
    assert told["disagreements"] == [
        {"cell": cell, "machine": True, "people": 1.0, "notes": ["wrong nose"],
         "candidate": BOARD.contestants[BOARD.where[cell][0]]}]


def test_best_and_worst_are_counted():
    cells = tuple(str(cell) for cell in BOARD.cells[:, 0])
    told = summarise(PLAN, MADE, [], [Extremes(new_id(), "Ada", now(), cells, cells[1], cells[0])])
    assert by(told["extremes"], "name", PLAN.candidates[1].name)["best"] == 1
    assert by(told["extremes"], "name", "base")["worst"] == 1


def test_votes_taken_back_and_votes_on_other_plans_do_not_count():
    said = pairs(10)
    gone = [TakenBack(new_id(), "Ada", now(), vote.id) for vote in said]
    stranger = PairVote(new_id(), "Ada", now(), "identity", "c1-x", "c1-y", "left", "active", 0.1)
    told = summarise(PLAN, MADE, SCORES, [*said, *gone, stranger, Rating(new_id(), "Ada", now(), "c1-z", 1, 1)])
    assert told["questions"]["identity"]["votes"] == 0
    assert told["disagreements"] == []


def test_nobody_voted():
    assert summarise(PLAN, MADE, SCORES, [])["sentences"] == ["Nobody has voted yet."]
    assert summarise(PLAN, {}, [], [])["sentences"] == ["Nobody has voted yet."]
