"""Scoring beside generation: a process of its own that is told which cells are finished. Decides nothing.

A picture takes 17–31 s on a large GPU and about a second to score on two cores, so scoring beside the run is done
when the run is. The scoring process has its own memory and its own lower priority: it cannot slow a denoising loop by
holding the interpreter, and if it dies the run goes on and `whichlora score` makes up for it.

The one who makes pictures calls `finished(cell)` after each; the child (whatever command it is given) reads cell ids
from its standard input, one a line, and the word 'finish' at the end.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from whichlora.metrics.stage import PlanScorer, ScoreSummary

FINISH = "finish"


class BesideScorer:
    """Parent's side: starts the scoring process and tells it what is there."""

    def __init__(self, folder: Path, command: Sequence[str] = ()) -> None:
        """Start scoring a project.

        Args:
            folder: The project.
            command: Command of the child, which gets the folder as its last argument; by default whichlora's own.
        """
        words = list(command) or [sys.executable, "-m", "whichlora.cli.scoring"]
        self._process = subprocess.Popen([*words, str(folder)], stdin=subprocess.PIPE, text=True, encoding="utf-8")

    def finished(self, cell: str) -> None:
        """Tell that a cell's generation is stored. Never blocks for long and never raises."""
        with contextlib.suppress(OSError, ValueError):  # a dead child must not end the run
            assert self._process.stdin is not None
            self._process.stdin.write(cell + "\n")
            self._process.stdin.flush()

    def finish(self) -> bool:
        """Let it score what is left and wait; False when it failed (then `score_plan` does the rest)."""
        with contextlib.suppress(OSError, ValueError):
            self._process.communicate(FINISH + "\n")
        return self._process.wait() == 0

    def stop(self) -> None:
        """End it without waiting for what is left; safe to call at any time."""
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(OSError, ValueError):
            self._process.communicate()

    def __enter__(self) -> BesideScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def follow(
    lines: Iterable[str], scorer: Callable[[], PlanScorer | None], spent: Callable[[float], None] = lambda _: None
) -> ScoreSummary:
    """Child's side: score cells as their ids arrive, and whatever is left once the parent is done.

    Args:
        lines: Cell ids, then 'finish'; an end without it means that the parent died.
        scorer: Gives the scorer once a plan is stored.
        spent: Told the processor seconds of each step.
    """
    pictures = scores = 0
    ready: PlanScorer | None = None
    for line in lines:
        word = line.strip()
        if not word:
            continue
        ready = ready or scorer()
        if ready is not None:
            started = time.process_time()
            done = ready.score(None if word == FINISH else {word})
            spent(time.process_time() - started)
            pictures, scores = pictures + done.pictures, scores + done.scores
        if word == FINISH:
            break
    return ScoreSummary(pictures, scores)
