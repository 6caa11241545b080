"""The scoring stage: every finished picture gets every metric that it lacks. Reads pictures, appends scores.

A metric never learns which candidate made a picture: the view carries source, output, instruction and costs only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from whichlora import registry
from whichlora.errors import ProjectError
from whichlora.metrics.base import Metric, Picture, Reference, Subject, View
from whichlora.metrics.scoring import measure_picture, prepare_all
from whichlora.store import Store
from whichlora.types import Generation, Plan, Score, fingerprint


@dataclass(frozen=True)
class ScoreSummary:
    """What a scoring stage did."""

    pictures: int
    """Pictures that got at least one new score."""
    scores: int
    """New scores."""


def scoring_context(plan: Plan) -> str:
    """Fingerprint of what calibrates the metrics, so that scores are not reused after a photograph was added."""
    return fingerprint([
        plan.subject,
        [item.sha256 for item in (*plan.sources, *plan.calibration)],
        [item.sha256 for item in plan.impostors],
    ], length=16)


def score_plan(
    plan: Plan, store: Store, photograph: Callable[[str], Picture], watch: Callable[[int, int], None] = lambda *_: None
) -> ScoreSummary:
    """Score what is not scored yet.

    Args:
        plan: The plan.
        store: Source of pictures, sink of scores.
        photograph: Source id → photograph.
        watch: Called with (pictures done, pictures in all).
    """
    names = registry.names("metrics")
    metrics: dict[str, Metric] = {name: registry.load("metrics", name) for name in names}
    context = scoring_context(plan)
    scored = store.scored(context=context)
    generations = store.generations()
    cases = {case.id: case for case in plan.cases}
    wanted: list[tuple[str, Generation, list[str]]] = []
    seen: set[str] = set()
    for cell in plan.cells:
        generation = generations.get(cell.id)
        if generation is None or generation.status != "done" or cell.id in seen:
            continue
        seen.add(cell.id)
        missing = [name for name in names if (cell.id, name, metrics[name].version) not in scored]
        if missing:
            wanted.append((cell.case, generation, missing))
    if not wanted:
        return ScoreSummary(0, 0)
    prepared = prepare_all(_subject(plan, photograph), names)
    written = 0
    for done, (case_id, generation, missing) in enumerate(wanted, start=1):
        case = cases[case_id]
        output = _read(store, generation)
        view = View(_resized(photograph(case.source), output.shape[:2]), output, case, generation)
        measured = measure_picture(view, prepared, missing)
        written += store.add_scores(
            (_score(generation.cell, metrics[name], measured[name]) for name in missing), context=context
        )
        watch(done, len(wanted))
    return ScoreSummary(len(wanted), written)


def _subject(plan: Plan, photograph: Callable[[str], Picture]) -> Subject:
    own = [Reference(item.id, photograph(item.id), same=True) for item in (*plan.sources, *plan.calibration)]
    others = [Reference(item.id, photograph(item.id), same=False) for item in plan.impostors]
    return Subject(plan.subject, (*own, *others))


def _read(store: Store, generation: Generation) -> Picture:
    assert generation.image is not None
    if not store.images.intact(generation.image):
        raise ProjectError(f"The picture {generation.image[:12]}… is missing or damaged, so it is not scored.",
                           fix="Run 'whichlora run' on the project: it finds such pictures and makes them again.")
    with Image.open(store.images.path(generation.image), formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB"))


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """The source as the model saw it: plainly resized to the output's size."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def _score(cell: str, metric: Metric, measured: Any) -> Score:
    return Score(cell, metric.name, metric.version, measured.value, measured.reason, measured.passed, metric.gate, "",
                 measured.detail)
