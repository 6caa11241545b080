"""A fault that was looked for and not seen is 0; one that nothing looked for is not measured."""

from analysis.small_worlds import rng, world
from whichlora import registry
from whichlora.analysis.analyse import analyse
from whichlora.analysis.simulate import project_of
from whichlora.findings import FAULT_WORDS, fault_words
from whichlora.types import Generation, Score

ROWS = {"base": (0.97,) * 4, "spoilt": (0.97,) * 4, "unseen": (0.97,) * 4, "broken": (0.97,) * 4}


def told():
    """'spoilt' has grids and lost faces, nobody looked for either at 'unseen', 'broken' never made a picture."""
    plan, generations, _ = project_of(world(ROWS, photos=4, seeds=1), rng())
    owner = {cell.id: cell.candidate for cell in plan.cells}
    scores = []
    for number, cell in enumerate(plan.cells):
        row = owner[cell.id]
        if row == "broken":
            continue
        bad = row == "spoilt" and number % 2 == 0
        scores.append(Score(cell.id, "following/edit", 1, 1.0, passed=True, gate="edit"))
        if row != "unseen":
            scores += [
                Score(cell.id, "identity/figure", 1, 0.3 if bad else 0.9, passed=not bad, gate="identity"),
                Score(cell.id, "artifacts/severe", 1, 1.0, passed=not bad, gate="artefact",
                      detail={"found": [{"kind": "grid", "severity": "severe"}]} if bad else {}),
            ]
    generations = [Generation(g.cell, "failed", None, {}, 0, "out of memory") if owner[g.cell] == "broken" else g
                   for g in generations]
    return {row.name: row for row in analyse(plan, generations, scores, settings={"draws": 200}).candidates}


def test_zero_where_it_was_looked_for_and_nothing_where_it_was_not():
    found = told()
    cells = found["base"].cells["planned"]
    assert found["base"].artefacts == {"generation failed": 0, "grid": 0, "identity lost": 0}
    assert found["spoilt"].artefacts == {"generation failed": 0, "grid": cells / 2, "identity lost": cells / 2}
    assert found["unseen"].artefacts == {"generation failed": 0}
    assert found["broken"].artefacts == {"generation failed": cells}


def test_a_row_without_a_fault_is_not_told_of_it():
    """A zero in the table is no weakness."""
    found = told()
    assert not any("grid" in line or "identity lost" in line for line in found["base"].weaknesses)
    half = found["base"].cells["planned"] // 2
    assert f"grid lines: {half} of {2 * half} pictures." in found["spoilt"].weaknesses


def test_every_detector_of_artefacts_has_a_name_in_words():
    kinds = {name.split("/")[1] for name in registry.names("metrics") if name.startswith("artifacts/")} - {"severe"}
    assert kinds == set(FAULT_WORDS)
    assert fault_words("somebody-elses") == "somebody-elses"
