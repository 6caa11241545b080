"""Making the pictures of a plan: only what is missing, each written whole or not at all.

A cell that fails is stored as a failure with its reason and tried again by the next run; a candidate that cannot be
switched on fails all its cells, never silently the base's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from whichlora.errors import MachineError, RefusedError
from whichlora.families.base import Picture, Session
from whichlora.run.controls import control_picture
from whichlora.run.encoding import Encoded, encode_all
from whichlora.run.events import RunEvent
from whichlora.run.pictures import parameters_text, pixel_hash, png_bytes
from whichlora.run.schedule import blocks, pending_cells
from whichlora.store import Store
from whichlora.types import Candidate, Cell, Generation, Plan

Watcher = Callable[[RunEvent], None]


@dataclass(frozen=True)
class RunSummary:
    """What a run did."""

    made: int
    """Pictures made by this run."""
    failed: int
    """Cells that failed in this run."""
    skipped: int
    """Cells that were done before."""
    seconds: float
    """Wall-clock time."""


@dataclass
class _Clock:
    """Honest ETA: the mean of this run's own generated cells times those left; control rows cost nothing."""

    total: int
    generated_left: int
    done: int = 0
    failed: int = 0
    spent_s: float = 0.0
    timed: int = 0
    _started: float = field(default_factory=time.monotonic)

    def eta_s(self) -> float | None:
        return self.spent_s / self.timed * self.generated_left if self.timed else None

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started


def run_plan(
    plan: Plan, store: Store, session: Session, picture: Callable[[str], Picture], watch: Watcher = lambda _: None,
    only: Collection[str] | None = None,
) -> RunSummary:
    """Make every missing picture of the plan.

    Args:
        plan: The resolved plan.
        store: Where generations go.
        session: The loaded base.
        picture: Source id → photograph (see `photograph_reader`).
        watch: Called after every step.
        only: Ids of the cells to make now; None for all.

    Raises:
        MachineError: The disk is full or failed; what was finished is kept.
    """
    pending = [cell for cell in pending_cells(plan, store.finished()) if only is None or cell.id in only]
    candidates = {candidate.name: candidate for candidate in plan.candidates}
    generated = sum(1 for cell in pending if candidates[cell.candidate].role != "control")
    clock = _Clock(total=len(pending), generated_left=generated)
    encoded = encode_all(
        plan, pending, session, picture,
        lambda done, total: watch(RunEvent("encode", done, total, note="encoding instructions and photographs")),
    )
    # The VAE-only control row still needs the encoder of pictures, so it is made before encoders may go.
    controls = [cell for cell in pending if candidates[cell.candidate].role == "control"]
    for cell in controls:
        _make(cell, candidates[cell.candidate], plan, store, session, (picture, encoded), clock, watch)
    session.release_encoders()
    rest = [cell for cell in pending if candidates[cell.candidate].role != "control"]
    for name, cells in blocks(plan, rest):
        candidate = candidates[name]
        problem = _switch(candidate, session)
        for cell in cells:
            if problem:
                _record_failure(cell, candidate, problem, store, clock, watch)
            else:
                _make(cell, candidate, plan, store, session, (picture, encoded), clock, watch)
    return RunSummary(clock.done - clock.failed, clock.failed, len(plan.cells) - len(pending), clock.elapsed_s())


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


def _make(
    cell: Cell, candidate: Candidate, plan: Plan, store: Store, session: Session,
    inputs: tuple[Callable[[str], Picture], Encoded], clock: _Clock, watch: Watcher,
) -> None:
    """Make one cell and store it; a failure of the model is stored, a failure of the disk is raised."""
    picture, encoded = inputs
    case = next(case for case in plan.cases if case.id == cell.case)
    session.reset_peak_memory()
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    try:
        if candidate.role == "control":
            output = control_picture(candidate, case, plan, session, picture)
        else:
            prompt, negative, images = encoded.inputs(candidate, case)
            latents = _timed(seconds, "denoise", lambda: session.denoise(
                prompt, negative, images, candidate.sampler, cell.seed))
            output = _timed(seconds, "decode", lambda: session.decode(latents))
    except (MachineError, KeyboardInterrupt):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        _record_failure(cell, candidate, reason, store, clock, watch)
        return
    facts: dict[str, Any] = {
        "height_px": int(output.shape[0]), "width_px": int(output.shape[1]), "pixels": pixel_hash(output),
        "libraries": dict(plan.libraries), "base": plan.base.id, "options": dict(plan.base.options),
        "num_inference_steps": candidate.sampler.num_inference_steps,
        "true_cfg_scale": candidate.sampler.true_cfg_scale, "seed": cell.seed,
    }
    text = parameters_text(candidate, case, cell, (output.shape[0], output.shape[1]))
    data = png_bytes(output, text, {"cell": cell.id, "schema": "whichlora.picture/1"})
    image = _timed(seconds, "write", lambda: store.images.put(data))
    seconds["total"] = time.perf_counter() - started
    store.add_generation(Generation(
        cell.id, "done", image, {name: round(value, 4) for name, value in seconds.items()},
        session.peak_memory_bytes(), "", facts,
    ))
    clock.done += 1
    if candidate.role != "control":
        clock.generated_left -= 1
        clock.timed += 1
        clock.spent_s += seconds["total"]
    watch(RunEvent("cell", clock.done, clock.total, clock.eta_s(), candidate.name, case.id, cell.id, image))


def _record_failure(
    cell: Cell, candidate: Candidate, reason: str, store: Store, clock: _Clock, watch: Watcher
) -> None:
    store.add_generation(Generation(cell.id, "failed", None, {}, 0, reason))
    clock.done += 1
    clock.failed += 1
    if candidate.role != "control":
        clock.generated_left -= 1
    watch(RunEvent("failure", clock.done, clock.total, clock.eta_s(), candidate.name, cell.case, cell.id, None, reason))


def _timed(seconds: dict[str, float], stage: str, work: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    result = work()
    seconds[stage] = time.perf_counter() - started
    return result
