"""The scoring stage: every finished picture gets every metric that it lacks. Reads pictures, appends scores.

A metric never learns which candidate made a picture: the view carries source, output, instruction and costs only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from whichlora import registry
from whichlora.errors import ProjectError
from whichlora.metrics.base import Metric, Picture, Reference, Subject, View
from whichlora.metrics.scoring import measure_picture, prepare_all
from whichlora.metrics.trust import deciding, why_not
from whichlora.store import Store
from whichlora.types import Generation, Measurement, Plan, Score, SourceImage, fingerprint


@dataclass(frozen=True)
class ScoreSummary:
    """What a scoring stage did."""

    pictures: int
    """Pictures that got at least one new score."""
    scores: int
    """New scores."""


def own_photographs(plan: Plan) -> list[SourceImage]:
    """Photographs that show the character; a generated picture that is edited further shows what a model made of it."""
    return [item for item in (*plan.sources, *plan.calibration) if not item.facts.get("generated")]


def scoring_context(plan: Plan) -> str:
    """Fingerprint of what calibrates the metrics, so that scores are not reused after a photograph was added."""
    facts = [
        plan.subject,
        [item.sha256 for item in own_photographs(plan)],
        [item.sha256 for item in plan.impostors],
    ]
    # Only named where there are any, so that scores made without packs stay valid.
    return fingerprint([*facts, sorted(plan.identity_packs)] if plan.identity_packs else facts, length=16)


class PlanScorer:
    """Scores a plan's pictures, calibrating once; may be called while pictures still appear."""

    def __init__(self, plan: Plan, store: Store, photograph: Callable[[str], Picture]) -> None:
        """Prepare to score; nothing is read or calibrated yet.

        Args:
            plan: The plan.
            store: Source of pictures, sink of scores.
            photograph: Source id → photograph.
        """
        self.plan = plan
        self.context = scoring_context(plan)
        self._store = store
        self._photograph = photograph
        self._names = registry.names("metrics")
        self._metrics: dict[str, Metric] = {name: registry.load("metrics", name) for name in self._names}
        self._cases = {case.id: case for case in plan.cases}
        self._prepared: dict[str, Any] | None = None

    def score(
        self, cells: Collection[str] | None = None, watch: Callable[[int, int], None] = lambda *_: None
    ) -> ScoreSummary:
        """Score what is not scored yet.

        Args:
            cells: Ids of the cells to look at; None for all of the plan.
            watch: Called with (pictures done, pictures in all).
        """
        wanted = self._wanted(cells)
        written = 0
        for done, (case_id, generation, missing) in enumerate(wanted, start=1):
            written += self._store.add_scores(self._measured(case_id, generation, missing), context=self.context)
            watch(done, len(wanted))
        return ScoreSummary(len(wanted), written)

    def _wanted(self, cells: Collection[str] | None) -> list[tuple[str, Generation, list[str]]]:
        """(case, generation, missing metrics) of every finished cell that lacks a score."""
        scored = self._store.scored(context=self.context)
        generations = self._store.generations()
        wanted: list[tuple[str, Generation, list[str]]] = []
        seen: set[str] = set()
        for cell in self.plan.cells:
            generation = generations.get(cell.id)
            if cell.id in seen or (cells is not None and cell.id not in cells):
                continue
            if generation is None or generation.status != "done":
                continue
            seen.add(cell.id)
            missing = [name for name in self._names if (cell.id, name, self._metrics[name].version) not in scored]
            if missing:
                wanted.append((cell.case, generation, missing))
        return wanted

    def _measured(self, case_id: str, generation: Generation, missing: list[str]) -> list[Score]:
        if self._prepared is None:
            self._prepared = prepare_all(_subject(self.plan, self._photograph), self._names)
        case = self._cases[case_id]
        output = _read(self._store, generation)
        view = View(_resized(self._photograph(case.source), output.shape[:2]), output, case, generation)
        found = measure_picture(view, self._prepared, missing)
        return [_score(generation.cell, self._metrics[name], found[name], self.plan.subject) for name in missing]


def score_plan(
    plan: Plan, store: Store, photograph: Callable[[str], Picture], watch: Callable[[int, int], None] = lambda *_: None
) -> ScoreSummary:
    """Score every finished picture that lacks a score; see `PlanScorer`."""
    return PlanScorer(plan, store, photograph).score(None, watch)


def _subject(plan: Plan, photograph: Callable[[str], Picture]) -> Subject:
    own = [Reference(item.id, photograph(item.id), same=True) for item in own_photographs(plan)]
    others = [Reference(item.id, photograph(item.id), same=False) for item in plan.impostors]
    return Subject(plan.subject, (*own, *others), plan.identity_packs)


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


def _score(cell: str, metric: Metric, measured: Measurement, kind: str) -> Score:
    """The measurement as stored; a metric that was not shown to tell right from wrong decides no gate."""
    gate, detail = deciding(metric, measured, kind), measured.detail
    if gate != metric.gate:
        detail = {**detail, "gate_withheld": why_not(metric, kind)}
    return Score(cell, metric.name, metric.version, measured.value, measured.reason, measured.passed, gate, "", detail)
