"""How long cells take: the time left of a run, and the patience with a worker that shows no progress.

Cells of one class (same sampler work) take about the same time, so each class is timed by itself. A class that was
not seen yet is priced by its work: the denoiser's seconds grow with steps × forwards × pixels, everything else about a
cell is taken as constant. A mean over all cells would be wrong by far as soon as an 8-step sampler stands beside a
40-step one with guidance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from whichlora.types import Candidate, Cell, EditCase, Plan

Kind = tuple[str, float]
"""Class of cells: 'control' or 'cell', and the denoiser's work in forwards × reference megapixels."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker may show no progress before it counts as hung."""

    first_s: float = 1800.0
    """For the first cell, whose length nobody knows and which may compile kernels."""
    load_s: float = 3600.0
    """For loading a base (a slow network disk), and for each step of checking or encoding."""
    least_s: float = 90.0
    """Never less than this, however fast cells are: other programs may take the machine for a while."""
    factor: float = 10.0
    """Otherwise this many times what such a cell took, at the slowest seen, or should take."""


@dataclass
class _Seen:
    """Sums over the finished cells of one class."""

    count: int = 0
    wall_s: float = 0.0
    denoise_s: float = 0.0
    slowest_s: float = 0.0
    warm_up: bool = False
    """The only cell so far was a worker's first."""


@dataclass
class Pace:
    """Learns from finished cells; asked for the time left and for deadlines."""

    plan: Plan
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self._candidates = {candidate.name: candidate for candidate in self.plan.candidates}
        self._cases = {case.id: case for case in self.plan.cases}
        self._seen: dict[Kind, _Seen] = {}
        self._left: Counter[Kind] = Counter()
        self._switches: list[float] = []

    def kind(self, cell: Cell) -> Kind:
        """Class of a cell."""
        return work_of(self._candidates[cell.candidate], self._cases[cell.case])

    def expect(self, cells: Iterable[Cell]) -> None:
        """Take in the cells that are to be made."""
        self._left.update(self.kind(cell) for cell in cells)

    def drop(self, cell: Cell) -> None:
        """A cell is settled without being timed, such as a failure."""
        self._left[self.kind(cell)] -= 1

    def finished(self, cell: Cell, wall_s: float, denoise_s: float, *, first: bool) -> None:
        """A cell is done.

        Args:
            cell: The cell.
            wall_s: What it cost its worker on the clock, without a change of weights.
            denoise_s: The denoiser's share of that.
            first: It was its worker's first: warm-up makes it slower than the others, so it counts only until there
                is another.
        """
        kind = self.kind(cell)
        self._left[kind] -= 1
        seen = self._seen.setdefault(kind, _Seen())
        seen.slowest_s = max(seen.slowest_s, wall_s)
        if first and seen.count:
            return
        if seen.warm_up:
            seen.count, seen.wall_s, seen.denoise_s, seen.warm_up = 0, 0.0, 0.0, False
        seen.warm_up = first
        seen.count += 1
        seen.wall_s += wall_s
        seen.denoise_s += min(denoise_s, wall_s)

    def switched(self, seconds: float) -> None:
        """A change of weights took so long."""
        self._switches.append(seconds)

    def seconds(self, kind: Kind) -> float | None:
        """Expected seconds of a cell of that class; None before there is anything to go by."""
        seen = self._seen.get(kind)
        if seen is not None:
            return seen.wall_s / seen.count
        timed = [(work, seen) for (role, work), seen in self._seen.items() if role == "cell"]
        if kind[0] == "control" or not timed:
            return 0.0 if kind[0] == "control" and self._seen else None
        count = sum(seen.count for _, seen in timed)
        work = sum(seen.count * work for work, seen in timed)
        denoise = sum(seen.denoise_s for _, seen in timed)
        other = sum(seen.wall_s for _, seen in timed) - denoise
        return denoise / work * kind[1] + other / count

    def eta_s(self, workers: int, switches_left: int) -> float | None:
        """Seconds left with so many workers; None before a generated cell was timed."""
        total = 0.0
        for kind, count in self._left.items():
            if count > 0:
                each = self.seconds(kind)
                if each is None:
                    return None
                total += count * each
        if self._switches:
            total += switches_left * sum(self._switches) / len(self._switches)
        return total / max(1, workers)

    def deadline_s(self, cell: Cell) -> float:
        """Seconds after which a worker that began this cell counts as hung."""
        kind = self.kind(cell)
        expected = self.seconds(kind)
        if not expected or not any(role == "cell" for role, _ in self._seen):
            return self.patience.first_s
        slowest = max(expected, self._seen[kind].slowest_s if kind in self._seen else 0.0)
        switch = max(self._switches, default=0.0)
        return max(self.patience.least_s, self.patience.factor * (slowest + switch))


def waiting_share(seconds: Iterable[Mapping[str, float]]) -> float | None:
    """Share of the time in which the device had nothing to do between pictures.

    Args:
        seconds: Seconds by stage of stored pictures, as in `Generation.seconds`; those without 'gap' and 'denoise'
            (control rows, pictures of earlier versions) do not count.

    Returns:
        Σ gap / Σ (gap + denoise + decode), 0 to 1; None when no picture tells. Changes of weights count on neither
        side. Pauses inside a pass, between kernels, are not seen.
    """
    told = [row for row in seconds if "gap" in row and row.get("denoise", 0.0) > 0]
    gap = sum(row["gap"] for row in told)
    work = sum(row["denoise"] + row.get("decode", 0.0) for row in told)
    return gap / (gap + work) if told else None


def work_of(candidate: Candidate, case: EditCase) -> Kind:
    """Class of a cell: forwards × megapixels that the denoiser reads (output and references); 0 for a control row."""
    if candidate.role == "control":
        return "control", 0.0
    sampler = candidate.sampler
    forwards = sampler.num_inference_steps * (2 if sampler.true_cfg_scale > 1.0 else 1)
    pictures = 2 + len(case.references)
    return "cell", forwards * pictures * sampler.reference_area_px / 1e6
