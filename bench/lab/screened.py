"""A simulated project that was screened: who is dropped, which pictures are used up, and the table that is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.figures import FAMILIES
from whichlora.analysis.simulate import World, candidates
from whichlora.analysis.table import Table
from whichlora.plan.screening import Screening
from whichlora.stats.screening import Round, chosen_on, in_turns, survivors


def dealt(won: np.ndarray) -> np.ndarray:
    """One capability's cells, dealt out to all of `FAMILIES`: a photograph then moves all of them together.

    Args:
        won: Shape (rows, 1, photographs, cells).
    """
    rows, _, photos, _ = won.shape
    return won.reshape(rows, photos, -1, len(FAMILIES)).transpose(0, 3, 1, 2)


def table_screened(world: World, won: np.ndarray, rounds: Sequence[Round]) -> Table:
    """The table that `tabulate` makes after a screened run; the whole one without rounds.

    Args:
        world: Its rows, 'base' first, its instructions and seeds.
        won: Which cells pass, shape (rows, families, photographs, edits × seeds).
        rounds: Schedule.
    """
    rows, families, photos, cells = won.shape
    order = _order(families, photos, cells // world.seeds, world.seeds)
    asked = [FAMILIES[step // cells % families] for step in order]
    flat = won.transpose(0, 2, 1, 3).reshape(rows, -1)
    field, out, names = list(range(1, rows)), dict[str, int](), list(world.rates)
    for stage in rounds[:-1]:
        kept = survivors(flat[field][:, order[: stage.steps]], asked[: stage.steps], stage.keep)
        staying = {field[i] for i in kept}
        out |= {names[i]: stage.steps for i in field if i not in staying}
        field = sorted(staying)
    made = np.zeros((rows, len(order)), bool)
    made[:, order[: rounds[-1].steps if rounds else None]] = True
    used = order[: chosen_on(rows - 1, rounds)] if rounds else order[:0]
    for i, name in enumerate(names):
        # Who was dropped keeps all of its pictures; who stayed loses those on which the field was cut.
        if name in out:
            made[i] = False
            made[i, order[: out[name]]] = True
        else:
            made[i, used] = False

    def counts(values: np.ndarray) -> np.ndarray:
        return values.reshape(rows, photos, families, cells).sum(axis=3).transpose(0, 2, 1).astype(float)

    passed, scored = counts(flat & made), counts(made)
    whole, told = (each.sum(axis=1, keepdims=True).repeat(2, axis=1) for each in (passed, scored))
    return Table(candidates(names), FAMILIES[:families], tuple(f"p{i}" for i in range(photos)), passed, scored,
                 np.zeros_like(passed), whole, told, np.zeros_like(whole), {},
                 dict.fromkeys(names, families * photos * cells), Screening(out=out, planned=len(rounds)))


def _order(families: int, photos: int, edits: int, seeds: int) -> np.ndarray:
    """Steps as (photograph × families + family) × cells + cell, in the order of a screened run."""
    cells, found = edits * seeds, []
    for seed in range(seeds):
        mine = [((k * families + f) * edits + e) * seeds + seed
                for k in range(photos) for f in range(families) for e in range(edits)]
        turns = in_turns([str(i // cells // families) for i in mine], [FAMILIES[i // cells % families] for i in mine])
        found += [mine[i] for i in turns]
    return np.array(found)
