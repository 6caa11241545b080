"""A cheaper way to make the same pictures, for proposals of who leaves a screening; never for figures.

Its cells are cells of their own, under a sampler of their own, and belong to no plan that is analysed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from whichlora.plan.price import passes
from whichlora.types import Candidate, Cell, Plan, SamplerProfile, cell_id

LARGEST = 0.34
"""Share of the full cost above which a cheaper way is not worth its trouble."""
FEWEST_STEPS = 4
SMALLEST_AREA = 512 * 512


@dataclass(frozen=True, slots=True)
class Cheap:
    """A cheaper sampler."""

    sampler: SamplerProfile
    """Settings."""
    what: str
    """In words."""
    cost: float
    """Share of the full cost of a picture."""


def cheaper(sampler: SamplerProfile, known: Iterable[SamplerProfile]) -> Cheap | None:
    """The way to make a picture more cheaply that is most like the full one: distilled, fewer steps, or smaller.

    Args:
        sampler: The full sampler.
        known: Samplers of the project; one with LoRAs of its own (such as Lightning) is preferred.
    """
    found: list[tuple[SamplerProfile, str]] = [
        (other, f"the sampler '{other.name}' ({other.num_inference_steps} steps)") for other in known if other.adapters
    ]
    steps = max(FEWEST_STEPS, sampler.num_inference_steps // 4)
    if steps < sampler.num_inference_steps:
        found.append((replace(sampler, num_inference_steps=steps), f"{steps} steps instead of "
                      f"{sampler.num_inference_steps}"))
    area = sampler.reference_area_px // 4
    if area >= SMALLEST_AREA:
        found.append((replace(sampler, reference_area_px=area), "half the width and height"))
    for other, what in found:
        share = passes(other) / passes(sampler)
        if share <= LARGEST:
            return Cheap(replace(other, name="cheap"), what, share)
    return None


def cheap_plan(plan: Plan, names: Sequence[str], steps: Iterable[tuple[str, int]], cheap: Cheap) -> Plan:
    """A plan of the same rows at the same steps under the cheaper sampler; base comes along as always.

    Args:
        plan: The whole matrix.
        names: Candidates that are sampled as base is.
        steps: (case, seed).
        cheap: How.
    """
    wanted = set(names)
    rows = [row for row in plan.candidates if row.role == "base"][:1]
    rows = [replace(row, sampler=cheap.sampler) for row in (*rows, *(c for c in plan.candidates if c.name in wanted))]
    cases = {case.id: case for case in plan.cases}
    hashes = {item.id: item.sha256 for item in (*plan.sources, *plan.calibration)}
    cells = tuple(
        Cell(_identity(plan, row, cases[case].id, seed, hashes), row.name, case, seed)
        for row in rows for case, seed in steps
    )
    return replace(plan, candidates=tuple(rows), cells=cells)


def alike(plan: Plan) -> list[str]:
    """Candidates that are sampled as base is: only for these does a cheaper sampler stand in."""
    base = next(row.sampler for row in plan.candidates if row.role == "base")
    return [row.name for row in plan.candidates if row.role == "candidate" and row.sampler == base]


def _identity(plan: Plan, row: Candidate, case_id: str, seed: int, hashes: dict[str, str]) -> str:
    case = next(case for case in plan.cases if case.id == case_id)
    pictures = (hashes[case.source], *(hashes[name] for name in case.references))
    return cell_id(plan.base, row, case, pictures, seed, plan.libraries)
