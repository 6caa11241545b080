"""What people's votes say, as plain data: agreement, strengths, which metrics may be believed, powered rates.

A pure function of stored rows; a report prints it and computes nothing. Missing figures carry a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from whichlora import registry
from whichlora.review.board import Board, build_board
from whichlora.review.pairing import counted, fit, outlook
from whichlora.review.votes import QUESTIONS, PairVote, Question, Rating, Standing, Vote, standing
from whichlora.stats.agreement import ENOUGH_ALPHA, Figure, alpha_interval, clustered_auc, clustered_tau
from whichlora.stats.paired import paired_difference
from whichlora.stats.pairwise import PRIOR_SD, probability_best
from whichlora.stats.ppi import powered_rate
from whichlora.stats.rates import clustered_rate
from whichlora.store.votes import GOOD_RATING
from whichlora.types import Gate, Generation, Plan, Score

SCHEMA = "whichlora.people/1"
_ASKS: dict[str, Question] = {"identity": "identity", "following": "edit", "edit": "edit", "artifacts": "defect",
                              "artefact": "defect", "drift": "defect", "preservation": "identity", "valid": "defect"}
"""Gate or axis of a metric → the question of people that it is compared with."""
_SIGN = {"left": 1, "right": -1, "tie": 0, "both-bad": 0}
ENOUGH_VOTES = 40
"""Votes before which a metric's agreement with people is left open rather than denied."""
SHOWN = 12
"""Disagreements that are named, strongest first."""


def summarise(
    plan: Plan, generations: Mapping[str, Generation], scores: Iterable[Score], votes: Iterable[Vote],
    *, direction: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """Sum up what people said of a plan's pictures.

    Args:
        plan: What was compared on what.
        generations: Cell id → what became of it.
        scores: Scores of machines (those with a rater are left out here; people come in as votes).
        votes: Everything that was said.
        direction: Metric name → 'higher', 'lower' or 'neither' is better; None asks the installed metrics.

    Returns:
        Plain data: 'votes', 'agreement', 'questions', 'metrics', 'rates', 'extremes', 'disagreements', 'sentences'.
    """
    said = standing(votes)
    board = build_board(plan, generations)
    machine = [score for score in scores if not score.rater and score.cell in board.where]
    metrics = _metrics(board, machine, said, direction or _direction)
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "votes": {"pairs": len(said.pairs), "ratings": len(said.ratings), "line_ups": len(said.extremes),
                  "raters": list(said.raters), "taken_back": len(said.taken_back)},
        "agreement": _agreement(board, said),
        "questions": {question: _question(board, said.pairs, question) for question in QUESTIONS},
        "metrics": metrics,
        "rates": _rates(board, machine, said.ratings),
        "extremes": _extremes(board, said),
        "disagreements": _disagreements(board, machine, said.ratings),
    }
    found["sentences"] = _sentences(found)
    return found


def _direction(metric: str) -> str:
    try:
        return str(registry.load("metrics", metric).better)
    except Exception:  # a metric of a third party that is not installed here
        return "neither"


def _plain(figure: Figure) -> dict[str, Any]:
    return asdict(figure)


# --------------------------------------------------------------------------- people among themselves


def _agreement(board: Board, said: Standing) -> dict[str, Any]:
    """Krippendorff's α between voters, and how often each repeats themselves."""
    found: dict[str, Any] = {"needed": ENOUGH_ALPHA}
    for scale in ("identity", "edit"):
        rows = [(vote.rater, vote.cell, getattr(vote, scale)) for vote in said.ratings if vote.cell in board.where]
        found[scale] = _plain(_alpha(board, [row for row in rows if row[2] is not None], "ordinal"))
    pairs = [
        (f"{vote.rater}", _unit(vote), _towards(vote)) for vote in said.pairs
        if vote.answer in _SIGN and vote.left in board.where and vote.right in board.where and not vote.repeats
    ]
    found["pairs"] = _plain(_alpha(board, pairs, "ordinal"))
    found["self"] = {rater: _consistency(said.pairs, rater) for rater in said.raters}
    return found


def _unit(vote: PairVote) -> str:
    return "|".join((vote.question, *sorted((vote.left, vote.right))))


def _towards(vote: PairVote) -> int:
    """Answer in terms of the two cells in alphabetical order, whatever side they were on."""
    return _SIGN[vote.answer] * (1 if vote.left < vote.right else -1)


def _alpha(board: Board, rows: Sequence[tuple[str, str, int]], level: Any) -> Figure:
    raters = list(dict.fromkeys(row[0] for row in rows))
    units = list(dict.fromkeys(row[1] for row in rows))
    table = np.full((max(len(raters), 1), len(units)), np.nan)
    for rater, unit, value in rows:
        table[raters.index(rater), units.index(unit)] = value
    photos = [int(board.photos[board.where[unit.split("|")[-1]][1]]) for unit in units]
    return alpha_interval(table, photos, level)


def _consistency(pairs: Sequence[PairVote], rater: str) -> dict[str, Any]:
    """Share of repeated pairs (sides swapped) that got the same answer: the ceiling for any metric."""
    by_id = {vote.id: vote for vote in pairs}
    same = [
        _towards(vote) == _towards(by_id[vote.repeats]) for vote in pairs
        if vote.rater == rater and vote.repeats in by_id
        and vote.answer in _SIGN and by_id[vote.repeats].answer in _SIGN
    ]
    if not same:
        return {"value": None, "repeats": 0, "note": "no pair was shown twice yet"}
    return {"value": float(np.mean(same)), "repeats": len(same), "note": "" if len(same) >= 10 else "few repetitions"}


# --------------------------------------------------------------------------- which candidate


def _question(board: Board, pairs: Sequence[PairVote], question: Question) -> dict[str, Any]:
    """Strength of every contestant on one question."""
    usable = counted(board, pairs, question)
    found: dict[str, Any] = {"words": QUESTIONS[question], "votes": len(usable), "candidates": []}
    if len(board.contestants) < 2 or not usable:
        return found | {"note": "no votes yet"}
    fitted = fit(board, usable, prior_sd=PRIOR_SD)
    best = probability_best(fitted, np.random.default_rng(0), 4000, cautious=True)
    view = outlook(fitted)
    base = board.contestants.index("base") if "base" in board.contestants else None
    for item in np.argsort(-fitted.theta, kind="stable"):
        row: dict[str, Any] = {"name": board.contestants[item], "p_best": float(best[item])}
        against = fitted.against_mean(int(item))
        row |= {"strength": against.value, "low": against.low, "high": against.high}
        if base is not None and base != item:
            contrast = fitted.contrast(int(item), base)
            shares = expit([contrast.value, contrast.low, contrast.high])
            row["against_base"] = asdict(contrast) | {
                "preferred": float(shares[0]), "preferred_low": float(shares[1]), "preferred_high": float(shares[2]),
            }
        row["votes"] = sum(item in (board.where[vote.left][0], board.where[vote.right][0]) for vote in usable)
        found["candidates"].append(row)
    note = "fewer than 6 photographs: direction only" if fitted.photos < 6 else ""
    return found | {
        "separated": view.separated, "votes_left": view.left, "side_bias": fitted.side, "photos": fitted.photos,
        "random_share": sum(vote.why == "random" for vote in usable) / len(usable), "note": note,
    }


# --------------------------------------------------------------------------- which metric


def _metrics(
    board: Board, machine: Sequence[Score], said: Standing, direction: Callable[[str], str]
) -> list[dict[str, Any]]:
    """Agreement of every metric with people, and whether it may decide for this character."""
    by_metric: dict[str, dict[str, Score]] = {}
    for score in sorted(machine, key=lambda score: score.version):
        by_metric.setdefault(score.metric, {})[score.cell] = score
    found: list[dict[str, Any]] = []
    for name, rows in sorted(by_metric.items()):
        gate: Gate | None = next(iter(rows.values())).gate
        question = _ASKS.get(gate or name.split("/")[0])
        way = direction(name)
        sign = {"higher": 1.0, "lower": -1.0}.get(way) or _guess(rows)
        if question is None or sign == 0:
            continue
        found.append(_metric(board, name, {c: s for c, s in rows.items() if s.value is not None}, sign, question, said))
    return found


def _guess(rows: Mapping[str, Score]) -> float:
    """Direction of a metric that is not installed, from the values that it passed and failed."""
    passed = [s.value for s in rows.values() if s.passed is True and s.value is not None]
    failed = [s.value for s in rows.values() if s.passed is False and s.value is not None]
    return float(np.sign(np.mean(passed) - np.mean(failed))) if passed and failed else 0.0


def _metric(
    board: Board, name: str, rows: Mapping[str, Score], sign: float, question: Question, said: Standing,
) -> dict[str, Any]:
    labels = _labels(said.ratings, question)
    cells = [cell for cell in labels if cell in rows]
    values = np.array([sign * float(rows[cell].value or 0.0) for cell in cells])
    good = np.array([labels[cell][0] for cell in cells], dtype=bool)
    level = np.array([labels[cell][1] for cell in cells])
    photos = np.array([int(board.photos[board.where[cell][1]]) for cell in cells])
    none = Figure(None, note="people have rated no picture that it scored")
    area = clustered_auc(values, good, photos) if cells else none
    pairs = _concordance(board, rows, sign, counted(board, said.pairs, question))
    # What can tell a metric apart from chance are the rarer answers: 100 good pictures and 2 bad ones show little.
    rarer = 2 * int(min(good.sum(), (~good).sum())) if cells else 0
    trust, why = _verdict(area, pairs, rarer)
    if len({rows[cell].value for cell in rows}) < 2:
        trust, why = None, "it gave every picture the same figure"
    return {
        "metric": name, "question": question, "gate": next((s.gate for s in rows.values()), None),
        "auc": _plain(area), "tau_b": _plain(clustered_tau(values, level, photos)) if cells else _plain(Figure(None)),
        "pairs": _plain(pairs), "may_decide": trust, "why": why,
        "calibration": _calibration(board, rows, labels),
    }


def _labels(ratings: Iterable[Rating], question: Question) -> dict[str, tuple[bool, float]]:
    """Cell → (good, mean level) from single ratings of cells; several voters are averaged."""
    levels: dict[str, list[float]] = {}
    for vote in ratings:
        if question == "defect":
            levels.setdefault(vote.cell, []).append(-float(len(vote.marks)))
        else:
            value = vote.identity if question == "identity" else vote.edit
            if value is not None:
                levels.setdefault(vote.cell, []).append(float(value))
    limit = -0.5 if question == "defect" else GOOD_RATING - 0.5
    return {cell: (float(np.mean(found)) >= limit, float(np.mean(found))) for cell, found in levels.items()}


def _concordance(board: Board, rows: Mapping[str, Score], sign: float, votes: Sequence[PairVote]) -> Figure:
    """Share of decided pairs in which the metric prefers what people preferred; its ties count half."""
    photos: dict[int, list[float]] = {}
    for vote in votes:
        if _SIGN[vote.answer] == 0 or vote.left not in rows or vote.right not in rows:
            continue
        gap = sign * (float(rows[vote.left].value or 0.0) - float(rows[vote.right].value or 0.0))
        right = 0.5 if gap == 0 else float(np.sign(gap) == _SIGN[vote.answer])
        photos.setdefault(int(board.photos[board.where[vote.left][1]]), []).append(right)
    count = sum(len(found) for found in photos.values())
    if not count:
        return Figure(None, note="people decided no pair that it scored")
    rate = clustered_rate([sum(found) for found in photos.values()], [len(found) for found in photos.values()])
    return Figure(rate.value, rate.low, rate.high, count, rate.note)


def _verdict(area: Figure, pairs: Figure, rarer: int) -> tuple[bool | None, str]:
    """May a metric decide? None while people have not said enough."""
    told = [(count, figure) for count, figure in ((rarer, area), (pairs.count, pairs)) if figure.low is not None]
    if not told:
        return None, "too few votes to tell"
    # One figure decides, the one with more votes behind it: the better of two would be a second chance to be lucky.
    count, figure = max(told, key=lambda item: item[0])
    if figure.high is not None and figure.high < 0.5:
        return False, "people say the opposite"
    if figure.low is not None and figure.low > 0.5:
        return True, "agrees with people beyond chance"
    if count < ENOUGH_VOTES:
        return None, "too few votes to tell"
    return False, "its agreement with people cannot be told from chance"


def _calibration(
    board: Board, rows: Mapping[str, Score], labels: Mapping[str, tuple[bool, float]]
) -> list[dict[str, Any]]:
    """Per contestant: share that the metric passes and share that people do, on the same pictures."""
    found: list[dict[str, Any]] = []
    for item, name in enumerate(board.contestants):
        mine = [cell for cell in labels if cell in rows and board.where[cell][0] == item]
        cells = [cell for cell in mine if rows[cell].passed is not None]
        if len(cells) < 5:
            continue
        photos = sorted({int(board.photos[board.where[cell][1]]) for cell in cells})
        share: list[tuple[float, float]] = []
        for photo in photos:
            here = [cell for cell in cells if board.photos[board.where[cell][1]] == photo]
            passed, good = [rows[cell].passed is True for cell in here], [labels[cell][0] for cell in here]
            share.append((float(np.mean(passed)), float(np.mean(good))))
        machine, people = (np.array(column) for column in zip(*share, strict=True))
        gap = paired_difference(machine, people, len(cells) / len(photos))
        found.append({"name": name, "machine": float(machine.mean()), "people": float(people.mean()),
                      "cells": len(cells), "difference": gap.value, "low": gap.low, "high": gap.high})
    return found


# --------------------------------------------------------------------------- rates, extremes, disagreements


def _passes(machine: Sequence[Score]) -> dict[str, bool | None]:
    """Cell → did it pass all gates that had a say; None where nobody could tell."""
    found: dict[str, dict[str, Score]] = {}
    for score in sorted(machine, key=lambda score: score.version):
        if score.gate is not None and not score.reason.startswith("not applicable"):
            found.setdefault(score.cell, {})[score.metric] = score
    verdicts: dict[str, bool | None] = {}
    for cell, rows in found.items():
        answers = [score.passed for score in rows.values()]
        verdicts[cell] = False if False in answers else None if None in answers else True
    return verdicts


def _consistent(ratings: Iterable[Rating]) -> dict[str, bool]:
    """Cell → identity kept and edit done, by the mean of those who rated both; randomly drawn pictures only."""
    both: dict[str, list[tuple[int, int]]] = {}
    for vote in ratings:
        if vote.drawn and vote.identity is not None and vote.edit is not None:
            both.setdefault(vote.cell, []).append((vote.identity, vote.edit))
    return {cell: bool(np.all(np.mean(found, axis=0) >= GOOD_RATING - 0.5)) for cell, found in both.items()}


def _rates(board: Board, machine: Sequence[Score], ratings: Sequence[Rating]) -> list[dict[str, Any]]:
    """Consistency rate by people, powered by the machine's verdicts on all pictures."""
    verdicts, people = _passes(machine), _consistent(ratings)
    found: list[dict[str, Any]] = []
    for item, name in enumerate(board.contestants):
        cells = [str(cell) for cell in board.cells[item] if cell]
        labels: NDArray[np.float64] = np.array([float(people[cell]) if cell in people else np.nan for cell in cells])
        count = int((~np.isnan(labels)).sum())
        if count < 10:
            found.append({"name": name, "value": None, "labels": count, "note": "fewer than 10 rated pictures"})
            continue
        judged = np.array([{True: 1.0, False: 0.0, None: 0.5}[verdicts.get(cell)] for cell in cells])
        photos = np.array([int(board.photos[board.where[cell][1]]) for cell in cells])
        found.append({"name": name, "machine": float(judged.mean()), **_powered(labels, judged, photos)})
    return found


def _powered(labels: NDArray[np.float64], judged: NDArray[np.float64], photos: NDArray[np.int64]) -> dict[str, Any]:
    """Powered rate, beside what the labels say alone."""
    has = ~np.isnan(labels)
    if len(np.unique(photos[has])) < 2:
        return {"value": None, "labels": int(has.sum()), "note": "rated pictures of one photograph only"}
    rate = powered_rate(labels[has], judged[has], judged[~has], photos[has], photos[~has])
    alone = powered_rate(labels[has], judged[has], [], photos[has], [])
    note = "fewer than 6 photographs: direction only" if rate.photos < 6 else ""
    return {**asdict(rate), "alone": {"value": alone.value, "low": alone.low, "high": alone.high}, "note": note}


def _extremes(board: Board, said: Standing) -> list[dict[str, Any]]:
    """How often each contestant was best and worst, of the line-ups it stood in."""
    rows = [{"name": name, "best": 0, "worst": 0, "shown": 0, "best_cells": [], "worst_cells": []}
            for name in board.contestants]
    for vote in said.extremes:
        for cell in vote.cells:
            if cell in board.where:
                rows[board.where[cell][0]]["shown"] += 1
        for kind, cell in (("best", vote.best), ("worst", vote.worst)):
            if cell in board.where:
                row = rows[board.where[cell][0]]
                row[kind] += 1
                row[f"{kind}_cells"].append(cell)
    return [row for row in rows if row["shown"]]


def _disagreements(board: Board, machine: Sequence[Score], ratings: Sequence[Rating]) -> list[dict[str, Any]]:
    """Pictures that people and the machine see differently, the clearest first."""
    verdicts = _passes(machine)
    levels: dict[str, list[float]] = {}
    notes: dict[str, list[str]] = {}
    for vote in ratings:
        given = [value for value in (vote.identity, vote.edit) if value is not None]
        if given and vote.cell in board.where:
            levels.setdefault(vote.cell, []).append(float(min(given)))
            notes.setdefault(vote.cell, []).extend([vote.note] if vote.note else [])
    found = [
        {"cell": cell, "machine": verdicts[cell], "people": float(np.mean(given)), "notes": notes[cell],
         "candidate": board.contestants[board.where[cell][0]]}
        for cell, given in levels.items()
        if verdicts.get(cell) is not None and verdicts[cell] != (float(np.mean(given)) >= GOOD_RATING - 0.5)
    ]
    return sorted(found, key=lambda row: -abs(row["people"] - 3.5))[:SHOWN]


def _sentences(found: Mapping[str, Any]) -> list[str]:
    """The few things worth saying first."""
    counts = found["votes"]
    if not counts["pairs"] and not counts["ratings"]:
        return ["Nobody has voted yet."]
    raters = len(counts["raters"])
    said = [f"{raters} {'person' if raters == 1 else 'people'} gave {counts['pairs']} pair votes and "
            f"{counts['ratings']} single ratings."]
    for scale, title in (("identity", "identity"), ("edit", "the edit")):
        alpha = found["agreement"][scale]["value"]
        if alpha is not None and alpha < ENOUGH_ALPHA:
            said.append(f"Voters do not agree enough about {title} (α {alpha:.2f}, {ENOUGH_ALPHA} is needed): "
                        "the ratings cannot carry a conclusion.")
    said += [f"“{row['words']}” People prefer {row['candidates'][0]['name']} to every other candidate."
             for row in found["questions"].values() if row.get("separated") and row["candidates"]]
    said += [f"The metric {row['metric']} may not decide for this character: {row['why']}."
             for row in found["metrics"] if row["may_decide"] is False]
    return said
