"""Scoring beside generation: a process of its own computes, its parent stores. Decides nothing.

A picture takes 17–31 s on a large GPU and about a second to score on two cores, so scoring beside the run is done
when the run is. The scoring process has its own memory and a lower priority: it cannot slow a denoising loop by holding
the interpreter. It never opens the store, so that a project keeps its single writer: it is told of finished pictures,
one JSON line each on its standard input, and answers with their scores on its standard output. If it dies the run goes
on, and the scoring stage makes up for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import whichlora
from whichlora import registry
from whichlora.findings import build
from whichlora.metrics.stage import PictureScorer, Task, lacking, scoring_context
from whichlora.plan.codec import plan_from_json, plan_to_json
from whichlora.store import Store
from whichlora.types import Plan, Score

SILENT_S = 600.0
"""A scorer that is waited for and says nothing for so long counts as hanging: calibrating takes a minute at most."""
_LEAVE_S = 5.0


class BesideScorer:
    """Parent's side: tells the scoring process what is there and stores what it answers.

    All methods belong to one thread, the one that owns the store.
    """

    def __init__(
        self, folder: Path, store: Store, say: Callable[[str], None] = lambda _: None, command: Sequence[str] = (),
    ) -> None:
        """Start the scoring process.

        Args:
            folder: The project.
            store: Where scores go, owned by this process.
            say: Told in a sentence that the scorer is lost.
            command: Command of the child, which gets the folder as its last argument; by default whichlora's own.
        """
        self.sent = 0
        """Pictures that the scorer was told of."""
        self.answered = 0
        """Pictures that it is done with."""
        self.scored = 0
        """Pictures whose scores were stored."""
        self.spent_s = 0.0
        """Processor seconds that it says it took."""
        self._folder, self._store, self._say = folder, store, say
        self._plan: Plan | None = None
        self._context = ""
        self._cases: dict[str, str] = {}
        self._told: set[str] = set()
        self._orders: SimpleQueue[str | None] = SimpleQueue()
        self._answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        words = list(command) or [sys.executable, "-P", "-m", "whichlora.cli.scoring"]
        flags = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
        try:
            self._process = subprocess.Popen(
                [*words, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                env=_environment(), text=True, encoding="utf-8", creationflags=flags,
            )
        except OSError as error:
            self._lose(str(error.strerror or error))
            return
        self._threads = [threading.Thread(target=work, args=(self._process,), daemon=True)
                         for work in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> BesideScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether there still is a scorer."""
        return self._process is not None

    def begin(self, plan: Plan) -> None:
        """Score pictures of this plan from now on, beginning with those that are there and lack scores."""
        if self._process is None or plan is self._plan:
            return
        self._plan, self._context = plan, scoring_context(plan)
        self._cases = {cell.id: cell.case for cell in plan.cells}
        self._told = set()
        self._order({"plan": plan_to_json(plan)})
        for task in lacking(plan, self._store, self._context):
            self._tell(task)

    def finished(self, cell: str) -> None:
        """Tell that a cell of the plan is stored. Never waits for the scorer."""
        if self._process is None or cell in self._told or cell not in self._cases:
            return
        generation = self._store.generation(cell)
        if generation is not None and generation.status == "done":
            self._tell(Task(self._cases[cell], generation, tuple(registry.names("metrics"))))

    def collect(self) -> None:
        """Store what the scorer has answered so far. Never waits for it.

        Raises:
            MachineError: The store cannot be written.
        """
        with contextlib.suppress(Empty):
            while self._process is not None:
                self._hear(self._answers.get_nowait())

    def settle(self, watch: Callable[[int, int], None] = lambda *_: None) -> bool:
        """Wait for the scores of all pictures told so far, and store them.

        Args:
            watch: Called with (pictures done, pictures in all).

        Returns:
            False when some were not scored; the scoring stage does them.

        Raises:
            MachineError: The store cannot be written.
        """
        while self._process is not None and self.answered < self.sent:
            try:
                self._hear(self._answers.get(timeout=SILENT_S))
            except Empty:
                self._process.kill()
                self._lose(f"no answer for {SILENT_S:.0f} s")
            watch(self.answered, self.sent)
        return self.scored == self.sent

    def stop(self) -> None:
        """End the scorer without waiting for what is left; safe to call at any time."""
        process, self._process = self._process, None
        if process is None:
            return
        self._orders.put(None)
        if self.answered < self.sent:
            process.kill()
        try:
            process.wait(_LEAVE_S)  # its input has ended, and with it the child
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(_LEAVE_S)
        self._errors.close()

    # ------------------------------------------------------------------ inner

    def _tell(self, task: Task) -> None:
        self._told.add(task.generation.cell)
        self.sent += 1
        self._order({"task": asdict(task)})

    def _order(self, words: Mapping[str, Any]) -> None:
        self._orders.put(json.dumps(words, allow_nan=False) + "\n")

    def _hear(self, answer: Mapping[str, Any]) -> None:
        if "ended" in answer:
            self._lose(str(answer["ended"]))
            return
        self.answered += 1
        self.spent_s += float(answer.get("spent_s", 0.0))
        if "scores" in answer:
            scores = [build(Score, row) for row in answer["scores"]]
            self._store.add_scores(scores, context=str(answer["context"]))
            self.scored += 1

    def _lose(self, why: str) -> None:
        self.stop()
        self._say(f"The process that scores beside the run ended: {why}. The run goes on; what is not scored yet is "
                  "scored afterwards (whichlora score).")

    def _write(self, process: subprocess.Popen[str]) -> None:
        """Pass orders on; a scorer that is behind must not make the run wait."""
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (order := self._orders.get()) is not None:
                process.stdin.write(order)
                process.stdin.flush()
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Pass answers on, and say how it ended."""
        assert process.stdout is not None
        why = ""
        try:
            with process.stdout as lines:
                for line in lines:
                    self._answers.put(json.loads(line))
        except (OSError, ValueError) as error:
            why = f"it said what is no answer ({str(error)[:80]})"
            process.kill()
        code = process.wait()
        with contextlib.suppress(OSError, ValueError):
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            why = why or f"status {code}" + (f", {said[-1][:200]}" if said else "")
        self._answers.put({"ended": why or f"status {code}"})


def follow(
    lines: Iterable[str], answer: Callable[[dict[str, Any]], None], scorer: Callable[[Plan], PictureScorer]
) -> None:
    """Child's side: compute the scores of pictures as they are told, until the parent has nothing more to say.

    Args:
        lines: JSON objects: {'plan'} once or more, then {'task'} for each picture.
        answer: Told {'cell', 'context', 'scores', 'spent_s'} of each, or {'cell', 'why', 'spent_s'}.
        scorer: Plan → what scores its pictures.
    """
    ready: PictureScorer | None = None
    context = ""
    for line in lines:
        order: dict[str, Any] = json.loads(line)
        if "plan" in order:
            plan = plan_from_json(order["plan"])
            ready, context = scorer(plan), scoring_context(plan)
            continue
        if ready is None:
            raise ValueError("a picture was told before its plan")
        task: Task = build(Task, order["task"])
        started = time.process_time()
        try:
            found: dict[str, Any] = {"context": context, "scores": [asdict(row) for row in ready.scores(task)]}
        except Exception as error:  # one picture must not keep the others from being scored
            found = {"why": f"{type(error).__name__}: {error}"[:300]}
        answer({"cell": task.generation.cell, "spent_s": round(time.process_time() - started, 4), **found})


def _environment() -> dict[str, str]:
    """The parent's variables, so that the child finds this very whichlora, without its GPUs."""
    environment = dict(os.environ)
    own = str(Path(whichlora.__file__).resolve().parent.parent)
    paths = [own, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    environment["CUDA_VISIBLE_DEVICES"] = ""
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads wait by spinning
    return environment
