"""One session at work: encodings kept, the active candidate known, cells made one by one. Stores nothing.

Shared by a run in this process, by a worker process and by a Ray actor, so that all three make the same pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from whichlora.errors import MachineError, RefusedError
from whichlora.families.base import Job, Picture, Session
from whichlora.run.canary import Canary
from whichlora.run.controls import control_picture
from whichlora.run.digests import digest
from whichlora.run.encoding import Encoded, Wanted, encode_into, wanted_encodings
from whichlora.run.environment import environment
from whichlora.run.made import Made
from whichlora.run.pictures import parameters_text, pixel_hash
from whichlora.types import Candidate, Cell, EditCase, Plan


class IdleClock:
    """Counts the seconds between one piece of the device's work and the next."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._gap = 0.0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The device is at work inside."""
        if self._since is not None:
            self._gap += time.perf_counter() - self._since
        self._since = None
        try:
            yield
        finally:
            self._since = time.perf_counter()

    def take(self) -> float:
        """Seconds counted since this was asked last."""
        gap, self._gap = self._gap, 0.0
        return gap

    def forget(self) -> None:
        """What comes next waited for something else than this process, such as a decision about the next round."""
        self._since, self._gap = None, 0.0


class CellWork:
    """A loaded base with what it has encoded."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._encoded = Encoded()
        self._released = False
        self._active: tuple[str, str] | None = None
        self._idle = IdleClock()
        self._plan: Plan | None = None
        self._picture: Callable[[str], Picture] | None = None
        self._candidates: dict[str, Candidate] = {}
        self._cases: dict[str, EditCase] = {}

    # ------------------------------------------------------------------ before the first cell

    def begin(self, plan: Plan, picture: Callable[[str], Picture]) -> None:
        """Take in a plan (its cells are not read) and the reader of its photographs; encodings that still fit stay."""
        photographs = {item.id: item.sha256 for item in plan.sources}
        if self._plan is not None and photographs != {item.id: item.sha256 for item in self._plan.sources}:
            self._encoded = Encoded()
        self._plan, self._picture = plan, picture
        self._candidates = {candidate.name: candidate for candidate in plan.candidates}
        self._cases = {case.id: case for case in plan.cases}
        self._idle.forget()
        self.forget_active()

    def can_encode(self, cells: Iterable[Cell], canary: Canary | None = None) -> bool:
        """False when inputs are missing and the encoders are gone for good: the session must be loaded anew."""
        return not self._released or not self._wanted(cells, canary) or hasattr(self.session, "restore_encoders")

    def encode(self, cells: Iterable[Cell], canary: Canary | None = None) -> Iterator[tuple[int, int]]:
        """Encode what cells (and the canary) need and is not encoded yet, then release the encoders.

        Yields:
            (done, total) after every input, so that a worker can tell of its progress.
        """
        wanted = self._wanted(cells, canary)
        if wanted and self._released:
            restore: Any = getattr(self.session, "restore_encoders", None)
            assert restore is not None, "ask can_encode first"
            restore()
            self._released = False
        assert self._picture is not None
        prompts, images = dict(self._encoded.prompts), dict(self._encoded.images)
        for done in encode_into(prompts, images, wanted, self.session, self._picture):
            yield done, len(wanted)
        self._encoded = Encoded(prompts, images)
        if not self._released:
            self.session.release_encoders()
            self._released = True

    def _wanted(self, cells: Iterable[Cell], canary: Canary | None) -> Wanted:
        assert self._plan is not None, "begin with a plan first"
        if canary is None:
            return wanted_encodings(self._plan, cells, self._encoded)
        candidates = (*self._plan.candidates, canary.candidate)
        with_canary = replace(self._plan, candidates=candidates)
        return wanted_encodings(with_canary, (*cells, canary.cell), self._encoded)

    def canary_pixels(self, canary: Canary) -> tuple[str, dict[str, str]]:
        """Make the canary; the hash of its pixels, and of what went into them: fingerprints, and ways of computing."""
        self.session.switch(canary.candidate)
        self.forget_active()
        case = self._cases[canary.cell.case]
        (picture, _), = self._generate(canary.candidate, [(case, canary.cell.seed)])
        self._idle.forget()
        prompt, negative, images = self._encoded.inputs(canary.candidate, case)
        ways: Any = getattr(self.session, "ways", dict)
        return pixel_hash(picture), {**ways(), "instruction": digest(prompt, negative), "photograph": digest(images)}

    # ------------------------------------------------------------------ cells

    def forget_active(self) -> None:
        """Somebody else switched the session: the next cell switches again."""
        self._active = None

    def activate(self, name: str) -> tuple[str, float]:
        """Make a candidate active.

        Returns:
            '' or the reason why its cells must fail, and the seconds that the change of weights took.
        """
        candidate = self._candidates[name]
        if candidate.role == "control":
            return "", 0.0
        if self._active is not None and self._active[0] == name:
            return self._active[1], 0.0
        started = time.perf_counter()
        self._active = None
        with self._idle.busy():
            problem = _switch(candidate, self.session)
        self._active = (name, problem)
        return problem, time.perf_counter() - started

    def prefetch(self, name: str) -> None:
        """Tell the session which candidate comes next, if it wants to know. Never fails: it is a hint."""
        hint: Any = getattr(self.session, "prefetch", None)
        candidate = self._candidates.get(name)
        if hint is not None and candidate is not None and candidate.role != "control":
            try:
                hint(candidate)
            except Exception:
                # The switch that follows meets the same trouble and reports it.
                return

    def together(self, name: str) -> int:
        """How many pictures of a candidate the session would rather make at once; 1 where it makes one by one."""
        candidate = self._candidates[name]
        ask: Any = getattr(self.session, "pictures_together", None)
        if ask is None or candidate.role == "control":
            return 1
        return max(1, int(ask(candidate.sampler)))

    def fit_together(self, cells: Sequence[Cell]) -> bool:
        """Whether these can be made at once: one candidate, one size of output, and no more than the session wishes."""
        assert self._picture is not None
        if len({cell.candidate for cell in cells}) > 1 or self.together(cells[0].candidate) < len(cells):
            return False
        sampler = self._candidates[cells[0].candidate].sampler
        sources = {self._cases[cell.case].source for cell in cells}
        return len({self.session.output_size(self._picture(source), sampler) for source in sources}) == 1

    def make(self, cell: Cell) -> Made:
        """Make one cell with the active candidate.

        Raises:
            MachineError: Another candidate is active than the cell's.
            Exception: Whatever the model raised; the caller decides what becomes of the cell and the session.
        """
        return self.make_together([cell])[0]

    def make_together(self, cells: Sequence[Cell]) -> list[Made]:
        """Make cells of the active candidate at once (see `fit_together`); all of them or none.

        Raises:
            MachineError: Another candidate is active than the cells'.
            Exception: Whatever the model raised. With several cells it is not said whose fault it was: make each alone.
        """
        plan, picture = self._plan, self._picture
        assert plan is not None
        assert picture is not None
        candidate = self._candidates[cells[0].candidate]
        others = any(cell.candidate != candidate.name for cell in cells)
        if candidate.role != "control" and (others or self._active != (candidate.name, "")):
            raise MachineError(f"A picture of '{candidate.name}' was about to be made with other weights active.",
                               fix="Nothing was stored. Run the command again, and report this sentence.")
        self.session.reset_peak_memory()
        asked = [(self._cases[cell.case], cell.seed) for cell in cells]
        if candidate.role == "control":
            outputs = [self._control(candidate, case, plan, picture) for case, _ in asked]
        else:
            outputs = self._generate(candidate, asked)
        gap, peak = self._idle.take() / len(cells), self.session.peak_memory_bytes()
        made: list[Made] = []
        for cell, (case, _), (output, seconds) in zip(cells, asked, outputs, strict=True):
            facts: dict[str, Any] = {
                "height_px": int(output.shape[0]), "width_px": int(output.shape[1]), "pixels": pixel_hash(output),
                "libraries": dict(plan.libraries), "base": plan.base.id, "options": dict(plan.base.options),
                "num_inference_steps": candidate.sampler.num_inference_steps,
                "true_cfg_scale": candidate.sampler.true_cfg_scale, "seed": cell.seed,
                "device": environment()["device"],
            }
            text = parameters_text(candidate, case, cell, (output.shape[0], output.shape[1]))
            made.append(Made(output, text, facts, {**seconds, "gap": gap}, peak))
        return made

    def _control(
        self, candidate: Candidate, case: EditCase, plan: Plan, picture: Callable[[str], Picture]
    ) -> tuple[Picture, dict[str, float]]:
        started = time.perf_counter()
        with self._idle.busy():
            output = control_picture(candidate, case, plan, self.session, picture)
        return output, {"total": time.perf_counter() - started}

    def _generate(
        self, candidate: Candidate, asked: Sequence[tuple[EditCase, int]]
    ) -> list[tuple[Picture, dict[str, float]]]:
        """Pictures and seconds of (case, seed), several of them in one pass."""
        session: Any = self.session
        jobs = [Job(*self._encoded.inputs(candidate, case), seed) for case, seed in asked]
        started = time.perf_counter()
        with self._idle.busy():
            if len(jobs) > 1:
                latents = session.denoise_together(jobs, candidate.sampler)
            else:
                prompt, negative, images, seed = jobs[0]
                latents = [session.denoise(prompt, negative, images, candidate.sampler, seed)]
            denoise = (time.perf_counter() - started) / len(jobs)
            found: list[tuple[Picture, dict[str, float]]] = []
            for each in latents:
                began = time.perf_counter()
                output = session.decode(each)
                decode = time.perf_counter() - began
                found.append((output, {"denoise": denoise, "decode": decode, "total": denoise + decode}))
        return found


def failure_reason(error: BaseException) -> str:
    """One line for a failed cell."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"


def _switch(candidate: Candidate, session: Session) -> str:
    """Make the candidate active; '' or the reason why its cells must fail."""
    try:
        report = session.switch(candidate)
    except RefusedError as error:
        return error.reason
    if report.modules_changed != report.modules_in_files:
        return (
            f"only {report.modules_changed} of {report.modules_in_files} modules of the LoRA reached the model, "
            "so a weaker LoRA would have been measured under its name"
        )
    return ""

