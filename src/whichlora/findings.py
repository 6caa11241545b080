"""What is concluded from scores: estimates, facts per capability, and the recommendation.

`analysis` writes one `Findings`; `report` and the command line only read it, so every number that is printed was
stored first. `to_json` and `from_json` round-trip it as plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

State = Literal["PASS", "FAIL", "OPEN"]
Decision = Literal["existing", "multi", "custom", "hybrid", "undecided"]


FAULT_WORDS: Mapping[str, str] = {
    "banding": "smooth areas in bands", "clipping": "blown or crushed colours", "colour": "wrong colours",
    "grid": "grid lines", "people": "missing or doubled people", "texture": "skin without texture",
    "tiling": "repeated content", "valid": "unusable picture",
}
"""Artefacts, named by the detectors that find them, in words."""


def fault_words(kind: str) -> str:
    """A failure or artefact in words; a detector of somebody else's keeps its own name."""
    return FAULT_WORDS.get(kind, kind)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An aggregated figure with its two intervals."""

    value: float | None
    """Point estimate (rates are 0 to 1); None when nothing could be measured."""
    low: float | None = None
    """Lower end of the 95 % interval for NEW photographs of this character."""
    high: float | None = None
    """Upper end of the same."""
    low_here: float | None = None
    """Lower end of the 95 % interval for exactly THESE photographs."""
    high_here: float | None = None
    """Upper end of the same."""
    photos: int = 0
    """Independent photographs behind it."""
    cells: int = 0
    """Cells behind it."""
    note: str = ""
    """Anything a reader must know, such as 'fewer than 6 photographs: direction only'."""


@dataclass(frozen=True, slots=True)
class CapabilityFact:
    """How one candidate does at one capability."""

    capability: str
    """Edit family ('camera', 'lighting', …) or 'identity', 'artefacts'."""
    state: State
    """PASS, FAIL or OPEN against the threshold."""
    rate: Estimate
    """Consistency rate within the capability."""
    against_base: Estimate | None = None
    """Paired difference to base (points, −1 to 1); None for base itself."""
    better_than_base: bool = False
    """Shown better than base after correction for the number of candidates."""
    worse_than_base: bool = False
    """Shown worse than base after the same correction."""
    more_photos: int | None = None
    """For OPEN: photographs that would probably settle it."""
    floor: float | None = None
    """One-sided 95 % lower bound for new photographs: PASS means that it reaches the target."""
    ceiling: float | None = None
    """One-sided 95 % upper bound for new photographs: FAIL means that it stays below the target."""


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """One row of the comparison matrix."""

    name: str
    """Candidate's name."""
    role: Literal["candidate", "base", "control"]
    """As in `Candidate`."""
    ccr: Estimate
    """Character consistency rate with equal weight for every capability."""
    ccr_best_case: float | None
    """CCR if every unscored cell had passed."""
    ccr_worst_case: float | None
    """CCR if every unscored cell had failed."""
    capabilities: Mapping[str, CapabilityFact]
    """By capability."""
    p_edit: float | None
    """Share of cells whose edit was done."""
    p_identity: float | None
    """Share of cells whose identity was kept."""
    p_identity_given_edit: float | None
    """Share of identity kept among cells whose edit was done."""
    no_op_rate: float | None
    """Share of cells in which nothing changed."""
    artefacts: Mapping[str, int]
    """Failures and artefacts by name, over all its cells: 0 where one was looked for, no entry where it was not."""
    cells: Mapping[str, int]
    """'planned', 'done', 'failed', 'unscored'."""
    means: Mapping[str, float]
    """Mean of every informing metric, by metric name."""
    seconds_per_image: float | None
    """Mean seconds of a generated picture."""
    peak_memory_gib: float | None
    """Largest peak memory of its cells."""
    p_best: float | None = None
    """Probability of being the best candidate, from shrunken draws."""
    strengths: tuple[str, ...] = ()
    """Sentences."""
    weaknesses: tuple[str, ...] = ()
    """Sentences."""
    best_cells: tuple[str, ...] = ()
    """Cell ids, best first."""
    worst_cells: tuple[str, ...] = ()
    """Cell ids, worst first."""
    licence: str = "unknown"
    """Licence of its adapters."""
    card: str = ""
    """What its card claims."""
    truth: float | None = None
    """True consistency rate where a ground truth exists; read by no decision."""
    budget: Mapping[str, State] = field(default_factory=dict[str, State])
    """'time' and 'memory' against the limits that the user set: PASS, FAIL, or OPEN while not measured; a limit that is
    not set has no entry."""
    rank_low: int | None = None
    """Best rank that 95 % of the draws leave possible (1 is first); None for controls."""
    rank_high: int | None = None
    """Worst rank of the same."""
    screened_out: int | None = None
    """Pictures after which a screening dropped it; None for rows that were measured to the end."""


@dataclass(frozen=True, slots=True)
class Option:
    """One of the four strategies, laid beside the others."""

    decision: Decision
    """Which strategy."""
    title: str
    """A few words."""
    candidate: str
    """What it would use, '' for custom."""
    pros: tuple[str, ...] = ()
    """Sentences."""
    cons: tuple[str, ...] = ()
    """Sentences."""
    gaps: tuple[str, ...] = ()
    """Capabilities that stay below the target."""
    hours: str = ""
    """Stated assumption with its range."""
    complexity: str = ""
    """'low', 'medium' or 'high', with a reason."""
    learn_from: str = ""
    """Reference LoRA to learn from."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The decision in words and facts."""

    decision: Decision
    """What the evidence supports."""
    provisional: Decision | None
    """The leaning while undecided."""
    candidate: str
    """Recommended candidate; 'base' when no LoRA is needed; several joined by ' + ' for multi and hybrid."""
    firm: bool
    """True when nothing that is still open could change the row of the truth table."""
    sentence: str
    """The verdict sentence."""
    rationale: tuple[str, ...] = ()
    """Why, in sentences."""
    flip: tuple[str, ...] = ()
    """What would change the answer, in sentences."""
    next_step: str = ""
    """The next purchase: photographs or cells, with hours."""
    options: tuple[Option, ...] = ()
    """The four strategies side by side."""
    roadmap: tuple[str, ...] = ()
    """Steps of the implementation, in order."""
    routes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Capability → candidate, for hybrid and multi."""
    training_only: tuple[str, ...] = ()
    """Must-haves that no set-up tried does: gaps that, of the four strategies, only training could close."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row at one capability, now against an earlier project: new minus old, pair by pair."""

    row: str
    """Row of this project."""
    was: str
    """Row of the earlier project that it is compared with."""
    capability: str
    """Edit family, 'identity', 'artefacts' or 'overall'."""
    then: float
    """Rate in the earlier project over the common pairs."""
    now: float
    """Rate in this project over the same."""
    difference: Estimate
    """Now minus then (−1 to 1), photograph by photograph."""
    better: bool = False
    """Shown better after correction for all changes looked at."""
    worse: bool = False
    """Shown worse after the same correction."""


@dataclass(frozen=True, slots=True)
class Against:
    """What became of an earlier project's rows."""

    project: str
    """Name of the earlier project."""
    before: str
    """Its verdict sentence; '' when it has none."""
    photos: int
    """Photographs in common."""
    pairs: int
    """Pairs of pictures in common: same photograph, instruction and seed."""
    changes: tuple[Change, ...]
    """By row, 'overall' first."""
    sentences: tuple[str, ...]
    """The comparison in words."""
    refused: tuple[Mapping[str, str], ...] = ()
    """Rows that cannot be compared: {'name', 'reason'}."""
    same: tuple[str, ...] = ()
    """Rows whose pictures are the very same files as then."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a report prints."""

    project: str
    """Project's name."""
    base: str
    """Base model id."""
    target: float
    """Consistency rate that counts as good enough (0 to 1)."""
    must_have: tuple[str, ...]
    """Capabilities that the user named as needed."""
    photos: int
    """Source photographs."""
    candidates: tuple[CandidateFacts, ...]
    """Base first, then candidates in order of CCR, then controls."""
    refused: tuple[Mapping[str, str], ...]
    """Files that were refused: {'name', 'reason'}."""
    recommendation: Recommendation
    """The decision."""
    failures: Mapping[str, tuple[str, ...]]
    """Failure kind → cell ids."""
    limits: tuple[str, ...]
    """Known limits of the measurement, in sentences; shown in every report."""
    questions: tuple[Mapping[str, str], ...]
    """The brief's open questions: {'question', 'default', 'reason', 'flag'}."""
    manifest: Mapping[str, Any]
    """Settings, versions, hashes and the command that repeats the run."""
    schema: str = "whichlora.findings/1"
    """Version of this document."""
    against: Against | None = None
    """Comparison with an earlier project, when one was asked for."""


def to_json(value: Any) -> Any:
    """Turn findings (or any part) into plain data."""
    return asdict(value)


def findings_from_json(data: Mapping[str, Any]) -> Findings:
    """Rebuild `Findings` from `to_json`'s output."""
    return build(Findings, data)


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Type hints of a dataclass, worked out once: a plan has ten thousand cells."""
    return get_type_hints(kind)


def build(kind: Any, data: Any) -> Any:
    """Rebuild `kind` (dataclasses, tuples and mappings inside) from plain data by its type hints."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        options = [arg for arg in get_args(kind) if arg is not type(None)]
        return None if data is None else build(options[0], data)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        return kind(**{f.name: build(hints[f.name], data[f.name]) for f in fields(kind) if f.name in data})
    if origin is tuple:
        return tuple(build(get_args(kind)[0], item) for item in data)
    if origin is not None and isinstance(data, dict):
        value_kind = get_args(kind)[1]
        return {key: build(value_kind, item) for key, item in data.items()}  # pyright: ignore[reportUnknownVariableType]
    return data
