"""Scoring beside a run of the tiny model on this machine's own cores: what it shares, and whether it keeps up."""

from __future__ import annotations

import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shared:
    """One run of one photograph and one LoRA, scored beside."""

    pictures: int
    scored: int
    """Pictures whose scores were stored when the run was over."""
    scoring_s: float
    """Processor seconds of scoring, calibration included."""
    making_s: float
    """Processor seconds of the workers, from starting them on."""


def run_beside() -> Shared:
    """Make a small demo project and run it."""
    from whichlora.cli import _beside as beside
    from whichlora.cli import stages
    from whichlora.cli._writing import writing
    from whichlora.cli.demo import set_up
    from whichlora.cli.project import open_project
    from whichlora.metrics.beside import BesideScorer
    from whichlora.metrics.stage import lacking, scoring_context
    from whichlora.tinyworld import LORA_FOLDER

    spent: list[float] = []

    class Watched(BesideScorer):
        """Remembers what it cost."""

        def stop(self) -> None:
            spent.append(self.spent_s)
            super().stop()

    with tempfile.TemporaryDirectory() as scratch:
        folder = next(LORA_FOLDER.glob("*Multiple-Angles"))
        set_up(Path(scratch) / "demo", photos=1, loras={folder.name: folder})
        project = open_project(Path(scratch) / "demo")
        before = _children_s()
        with writing(project.workspace, create=True) as store:
            beside.BesideScorer, plain = Watched, beside.BesideScorer
            try:
                plan = stages.generate(project, store, device="cpu", beside=True)
            finally:
                beside.BesideScorer = plain
            done = store.finished()
            left = lacking(plan, store, scoring_context(plan))
        scoring = max(spent)
        return Shared(len(done), len(done) - len(left), scoring, _children_s() - before - scoring)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
