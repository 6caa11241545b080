"""The scoring stage: every finished picture gets every metric that it lacks. Reads pictures, appends scores.

What a picture lacks is looked up in the store (`lacking`), what it scores is computed without one (`PictureScorer`), so
that another process can do the computing (see `beside.py`). A metric never learns which candidate made a picture: the
view carries source, output, instruction and costs only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from whichlora import registry
from whichlora.errors import ProjectError
from whichlora.metrics.base import Metric, Picture, Reference, Subject, View
from whichlora.metrics.scoring import measure_picture, prepare_all
from whichlora.metrics.trust import deciding, why_not
from whichlora.store import Store
from whichlora.store.images import ImageFolder
from whichlora.types import Generation, Measurement, Plan, Score, SourceImage, fingerprint
from whichlora.vision.memory import lasting


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


@dataclass(frozen=True)
class Task:
    """A finished picture that lacks scores."""

    case: str
    """Id of the case that it is a picture of."""
    generation: Generation
    """Where the picture is, and what it cost."""
    metrics: tuple[str, ...]
    """Names of the metrics that it lacks."""


def lacking(plan: Plan, store: Store, context: str, cells: Collection[str] | None = None) -> list[Task]:
    """Every finished cell of a plan that lacks a score, in the plan's order.

    Args:
        plan: The plan.
        store: The project's rows.
        context: See `scoring_context`.
        cells: Ids of the cells to look at; None for all of the plan.
    """
    versions = {name: registry.load("metrics", name).version for name in registry.names("metrics")}
    scored = store.scored(context=context)
    generations = store.generations()
    found: list[Task] = []
    seen: set[str] = set()
    for cell in plan.cells:
        generation = generations.get(cell.id)
        if cell.id in seen or (cells is not None and cell.id not in cells):
            continue
        if generation is None or generation.status != "done":
            continue
        seen.add(cell.id)
        missing = tuple(name for name, version in versions.items() if (cell.id, name, version) not in scored)
        if missing:
            found.append(Task(cell.case, generation, missing))
    return found


class PictureScorer:
    """Computes the scores of a plan's pictures, calibrating once. Writes nothing."""

    def __init__(self, plan: Plan, images: ImageFolder, photograph: Callable[[str], Picture]) -> None:
        """Prepare to score; nothing is read or calibrated yet.

        Args:
            plan: The plan.
            images: The project's pictures.
            photograph: Source id → photograph.
        """
        self.plan = plan
        self._images = images
        self._photograph = photograph
        self._cases = {case.id: case for case in plan.cases}
        self._prepared: dict[str, Any] | None = None
        # Every candidate edits the same photographs: each is resized once, and what is worked out of it is kept.
        self._source = lru_cache(maxsize=64)(lambda name, size: lasting(_resized(photograph(name), size)))

    def scores(self, task: Task) -> list[Score]:
        """Scores of one picture.

        Raises:
            ProjectError: The picture is missing or damaged.
            PhotoError: A photograph is missing, or has changed since it was planned.
        """
        if self._prepared is None:
            self._prepared = prepare_all(_subject(self.plan, self._photograph), registry.names("metrics"))
        case = self._cases[task.case]
        output = _read(self._images, task.generation)
        view = View(self._source(case.source, output.shape[:2]), output, case, task.generation)
        found = measure_picture(view, self._prepared, task.metrics)
        return [
            _score(task.generation.cell, registry.load("metrics", name), found[name], self.plan.subject)
            for name in task.metrics
        ]


class PlanScorer:
    """Scores a plan's pictures here and stores the scores; may be called while pictures still appear."""

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
        self._scorer = PictureScorer(plan, store.images, photograph)

    def score(
        self, cells: Collection[str] | None = None, watch: Callable[[int, int], None] = lambda *_: None
    ) -> ScoreSummary:
        """Score what is not scored yet.

        Args:
            cells: Ids of the cells to look at; None for all of the plan.
            watch: Called with (pictures done, pictures in all).
        """
        wanted = lacking(self.plan, self._store, self.context, cells)
        written = 0
        for done, task in enumerate(wanted, start=1):
            written += self._store.add_scores(self._scorer.scores(task), context=self.context)
            watch(done, len(wanted))
        return ScoreSummary(len(wanted), written)


def score_plan(
    plan: Plan, store: Store, photograph: Callable[[str], Picture], watch: Callable[[int, int], None] = lambda *_: None
) -> ScoreSummary:
    """Score every finished picture that lacks a score; see `PlanScorer`."""
    return PlanScorer(plan, store, photograph).score(None, watch)


def _subject(plan: Plan, photograph: Callable[[str], Picture]) -> Subject:
    own = [Reference(item.id, photograph(item.id), same=True) for item in own_photographs(plan)]
    others = [Reference(item.id, photograph(item.id), same=False) for item in plan.impostors]
    return Subject(plan.subject, (*own, *others), plan.identity_packs)


def _read(images: ImageFolder, generation: Generation) -> Picture:
    assert generation.image is not None
    if not images.intact(generation.image):
        raise ProjectError(f"The picture {generation.image[:12]}… is missing or damaged, so it is not scored.",
                           fix="Find such pictures and make them again with: whichlora run PROJECT")
    with Image.open(images.path(generation.image), formats=("PNG",)) as image:
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
