"""Rounds: who is behind leaves, the rest go on, and a run that was killed comes to the same end."""

import numpy as np
import pytest

from whichlora.analysis.simulate import World, project_of
from whichlora.errors import RefusedError
from whichlora.plan.screening import cells_of, shared_steps
from whichlora.run.rounds import run_rounds
from whichlora.stats.screening import schedule


def project(best=0.95, photos=6):
    """Seven rows, one of them good; the verdict of every cell is settled beforehand."""
    rates = {"base": {"x": 0.2, "y": 0.2}, **{f"lora-{i}": {"x": 0.2, "y": 0.2} for i in range(6)}}
    rates["lora-3"] = {"x": best, "y": best}
    world = World(rates, photos, 2, 1, 0.1)
    plan, _, scores = project_of(world, np.random.default_rng(5))
    good = {}
    for score in scores:
        good[score.cell] = good.get(score.cell, True) and score.passed is not False
    return plan, good


class Bench:
    """Makes cells by noting them; can be told to stop as a killed process would."""

    def __init__(self, good, dies_after=None):
        self.good, self.made, self.asked, self.dies_after = good, set(), [], dies_after

    def make(self, cells):
        self.asked.append(set(cells))
        for cell in cells:
            if cell not in self.made and self.dies_after is not None and len(self.made) >= self.dies_after:
                raise KeyboardInterrupt
            self.made.add(cell)

    def verdicts(self, cells):
        return {cell: self.good[cell] for cell in cells if cell in self.made}


def test_rounds_measure_base_throughout_and_finalists_to_the_end():
    plan, good = project()
    rounds = schedule(6, 24, 0.6)
    bench, said = Bench(good), []
    state = run_rounds(plan, rounds, bench.make, bench.verdicts, lambda s, text: said.append(text))
    assert state.finalists[0] == "lora-3"
    assert len(state.finalists) == 2
    assert said[0] == f"round 1 of {len(rounds)}: 6 candidates left"
    assert said[-1].startswith("2 candidates left after")
    for name in ("base", *state.finalists):
        assert {cell.id for cell in cells_of(plan, [name])} <= bench.made
    for name, pictures in state.out.items():
        assert sum(cell.id in bench.made for cell in cells_of(plan, [name])) == pictures < 24
    assert state.cells == sum(cell.id in bench.made for cell in plan.cells if cell.candidate != "base")
    assert state.saved == 6 * 24 - state.cells
    # Base was there at every step at which candidates were compared.
    assert all(any(cell.candidate == "base" and cell.id in ids for cell in plan.cells) for ids in bench.asked)


@pytest.mark.parametrize("dies_after", [1, 20, 45, 60, 75, 90])
def test_a_killed_run_goes_on_to_the_same_decisions(dies_after):
    plan, good = project(best=0.5)
    rounds = schedule(6, 24, 0.6)
    whole = Bench(good)
    expected = run_rounds(plan, rounds, whole.make, whole.verdicts)
    cut = Bench(good, dies_after)
    try:
        run_rounds(plan, rounds, cut.make, cut.verdicts)
    except KeyboardInterrupt:
        cut.dies_after = None
        assert run_rounds(plan, rounds, cut.make, cut.verdicts) == expected
    assert cut.made == whole.made


def test_nobody_is_dropped_on_pictures_that_could_not_be_scored():
    plan, good = project()
    bench = Bench(dict.fromkeys(good))
    with pytest.raises(RefusedError, match="0% of the pictures"):
        run_rounds(plan, schedule(6, 24, 0.6), bench.make, bench.verdicts)


def test_a_failed_picture_counts_against_its_candidate():
    plan, good = project()
    first = shared_steps(plan)[:12]
    broken = {cell.id for cell in cells_of(plan, ["lora-3"], first)}
    bench = Bench({cell: answer and cell not in broken for cell, answer in good.items()})
    state = run_rounds(plan, schedule(6, 24, 0.6), bench.make, bench.verdicts)
    assert "lora-3" in state.out


def test_a_cheap_sampler_proposes_and_the_pictures_decide():
    plan, good = project()
    rounds = schedule(6, 24, 0.6)
    asked = []

    def propose(field, rates):
        asked.append((tuple(field), dict(rates)))
        return ["lora-0", "lora-1", "lora-3"], "a sentence"

    bench = Bench(good)
    state = run_rounds(plan, rounds, bench.make, bench.verdicts, propose=propose)
    assert len(asked) == 1
    # The best is proposed too, but its own pictures keep it.
    assert state.finalists[0] == "lora-3"
    assert "a sentence" in state.notes
    plain = Bench(good)
    run_rounds(plan, rounds, plain.make, plain.verdicts)
    assert len(bench.made) <= len(plain.made)
