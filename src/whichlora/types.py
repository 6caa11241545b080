"""The nouns of whichlora, as frozen facts. No behaviour beyond naming and hashing.

A picture's way through these: an `EditCase` and a `Candidate` make a `Cell`; a cell makes a `Generation`;
a generation is given `Score`s; `findings.py` holds what is concluded from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

CELL_VERSION = 1
"""Raised whenever the meaning of a cell's inputs changes, so that old cells are never mistaken for new ones."""


def fingerprint(value: Any, *, length: int = 24) -> str:
    """Hash plain data (dicts, lists, strings, numbers, None) by its canonical JSON; hex of `length` digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


# --------------------------------------------------------------------------- LoRA files


@dataclass(frozen=True, slots=True)
class BaseEvidence:
    """Which base model a LoRA was trained on, and how we know."""

    id: str
    """Base model id in the Hub's spelling, such as 'Qwen/Qwen-Image-Edit-2509'; 'unknown' if nothing tells."""
    confidence: float
    """0 (a guess) to 1 (shapes or metadata leave no other)."""
    evidence: tuple[str, ...] = ()
    """One plain sentence per piece of evidence, conflicts included."""


@dataclass(frozen=True, slots=True)
class LoraModule:
    """One adapted weight inside a LoRA file."""

    name: str
    """Canonical module path in the model, such as 'transformer_blocks.0.attn.to_q'."""
    kind: str
    """'lora', 'dora', 'lokr', 'loha', 'diff' (a full weight difference) or 'bias' (a bias difference)."""
    rank: int
    """Inner dimension; 0 for 'diff' and 'bias'."""
    alpha: float | None
    """Alpha as stored, or None when the file has none."""
    scale: float
    """What B·A is multiplied by: alpha / rank, or 1.0 without alpha."""
    out_features: int
    """Rows of the adapted weight; 0 if unknown."""
    in_features: int
    """Columns of the adapted weight; 0 if unknown."""


@dataclass(frozen=True, slots=True)
class LoraFile:
    """Facts read from a LoRA file's header (and card), before any tensor is trusted."""

    name: str
    """Name shown to people; never used as a path."""
    path: str
    """Local path, or '' when only a remote header was read."""
    sha256: str | None
    """SHA-256 of the whole file; None when it was not downloaded."""
    size_bytes: int
    """Size of the file."""
    layout: str
    """Key layout that was recognised, such as 'kohya' (see lora/formats.py)."""
    rank: int
    """Largest rank over its modules."""
    alpha: float | None
    """Alpha shared by all modules; None when absent or mixed."""
    target_modules: tuple[str, ...]
    """Distinct module suffixes, such as 'attn.to_q'."""
    modules: tuple[LoraModule, ...]
    """Every adapted module."""
    base: BaseEvidence
    """Which base it belongs to."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """The header's own metadata, as text."""
    unmatched: tuple[str, ...] = ()
    """Keys that belong to no module; anything here refuses the file."""
    notes: tuple[str, ...] = ()
    """What is worth knowing without being wrong, such as where the strength was read."""


# --------------------------------------------------------------------------- what is compared


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """A LoRA at a weight."""

    name: str
    """Display name."""
    path: str
    """Local file (safetensors)."""
    sha256: str
    """SHA-256 of the file: the adapter's identity; name and path are not."""
    weight: float = 1.0
    """Adapter weight (diffusers' `adapter_weights`)."""


@dataclass(frozen=True, slots=True)
class SamplerProfile:
    """How pictures are sampled. Argument names are diffusers'."""

    name: str = "default"
    """Name shown to people."""
    num_inference_steps: int = 40
    """Denoising steps."""
    true_cfg_scale: float = 4.0
    """Guidance; 1.0 turns the second forward off."""
    negative_prompt: str = " "
    """Negative prompt used when guidance is on."""
    scheduler: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Scheduler settings that replace the base's own, such as Lightning's base_shift."""
    adapters: tuple[AdapterUse, ...] = ()
    """LoRAs that belong to the sampler, such as Lightning."""
    reference_area_px: int = 1024 * 1024
    """Pixel area to which the source is resized for the VAE."""
    condition_area_px: int = 384 * 384
    """Pixel area to which the source is resized for the text encoder."""


Role = Literal["candidate", "base", "control"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the comparison: a base with adapters, a way to combine them, and a sampler."""

    name: str
    """Unique name within a project; 'base' and the control rows are reserved."""
    adapters: tuple[AdapterUse, ...] = ()
    """LoRAs in order; empty for base."""
    combine: str = "stack"
    """'stack' (deltas are added), or the recipe of a merge, such as 'ties/1;density=0.5' (see `lora/merge.py`)."""
    sampler: SamplerProfile = field(default_factory=SamplerProfile)
    """Sampling settings."""
    role: Role = "candidate"
    """'base' and 'control' rows are always present and never recommended as a LoRA."""
    control: str = ""
    """For control rows: 'do-nothing', 'vae-round-trip', 'other-person', 'real-pair'."""
    trigger: str = ""
    """Text put before every instruction, when the LoRA's card asks for it."""
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Own wording for an edit, by edit name, where the LoRA's card asks for it."""
    licence: str = "unknown"
    """Licence of the adapters, for the report."""
    card: str = ""
    """Claim of the model card in a few words, for the report; never read by a decision."""
    merged: AdapterUse | None = None
    """The one file that the adapters were merged into, where `combine` is not 'stack'; made from them by the recipe,
    so it is no part of the identity."""

    @property
    def applied(self) -> tuple[AdapterUse, ...]:
        """What is added to the base's weights: the adapters, or the file that they were merged into."""
        if self.combine == "stack" or not self.adapters or self.merged is None:
            return self.adapters
        return (self.merged,)

    def fingerprint(self) -> str:
        """Hash of everything that can change a picture but the instruction (see `instruction`).

        Names, paths, licence and card are left out: a renamed file is the same candidate.
        """
        uses = [[use.sha256, use.weight] for use in self.adapters]
        sampler = asdict(self.sampler)
        sampler.pop("name")
        sampler["adapters"] = [[use.sha256, use.weight] for use in self.sampler.adapters]
        return fingerprint([uses, self.combine, sampler, self.control])


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A photograph of the character."""

    id: str
    """Short name, unique within a project."""
    path: str
    """File inside the project folder."""
    sha256: str
    """SHA-256 of the file."""
    width_px: int
    """Width."""
    height_px: int
    """Height."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What was measured of it: sharpness, exposure, face size, pose, … (see suite/photos.py)."""


@dataclass(frozen=True, slots=True)
class EditCase:
    """One instruction on one source photograph."""

    id: str
    """Unique within a project: '<source>/<edit>'."""
    source: str
    """Id of the `SourceImage`: the independent unit of every estimate."""
    edit: str
    """Name of the edit in the suite, such as 'slightly-left'."""
    family: str
    """'camera', 'lighting', 'background', 'expression' or 'trigger': the capability it tests."""
    prompt: str
    """Instruction as the model receives it."""
    target: Mapping[str, Any]
    """What must change, in the vocabulary of the family's verifier, such as {'yaw_deg': 45}."""
    keep: tuple[str, ...] = ("identity",)
    """What must stay: 'identity', 'background', 'lighting', 'pose', 'clothes'."""
    references: tuple[str, ...] = ()
    """Ids of further reference photographs handed to the model (0 to 2)."""


def instruction(candidate: Candidate, case: EditCase) -> str:
    """The text that the model receives: the candidate's own wording if it has one, behind its trigger."""
    text = candidate.prompts.get(case.edit, case.prompt)
    return f"{candidate.trigger} {text}".strip()


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The model that every candidate adapts."""

    id: str
    """Hub id or a name for a local folder."""
    family: str
    """Name of the `ModelFamily` that drives it."""
    location: str
    """Local folder or Hub id from which it is loaded."""
    fingerprint: str
    """Hash of its weights and configuration (see the family's `identify`)."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Family options that change pictures: dtype, text positions, memory profile."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture to be made."""

    id: str
    """Versioned hash of every resolved input; see `cell_id`."""
    candidate: str
    """Name of the candidate."""
    case: str
    """Id of the case."""
    seed: int
    """Seed, the same for every candidate of a case."""


def cell_id(
    base: BaseModel, candidate: Candidate, case: EditCase, source_sha256: tuple[str, ...], seed: int,
    libraries: Mapping[str, str],
) -> str:
    """Identity of a cell: changes exactly when anything that can change its picture does.

    Args:
        base: The base, with its fingerprint and options.
        candidate: The row.
        case: The case; only the instruction and the source pictures enter, not its name.
        source_sha256: Hashes of the source and of any further references, in order.
        seed: The seed.
        libraries: Versions of the libraries that compute the picture.
    """
    return f"c{CELL_VERSION}-" + fingerprint([
        CELL_VERSION, base.family, base.fingerprint, dict(base.options), candidate.fingerprint(),
        instruction(candidate, case), list(source_sha256), seed, dict(libraries),
    ])


@dataclass(frozen=True, slots=True)
class Plan:
    """The resolved matrix: what is compared on what, with its price. Stored before the first picture is made."""

    project: str
    """Project's name."""
    base: BaseModel
    """What every candidate adapts."""
    candidates: tuple[Candidate, ...]
    """Rows: base first, then candidates, then controls."""
    sources: tuple[SourceImage, ...]
    """Photographs that are edited."""
    calibration: tuple[SourceImage, ...]
    """Further photographs of the character, used to calibrate identity only."""
    impostors: tuple[SourceImage, ...]
    """Photographs of others, used to calibrate identity only."""
    cases: tuple[EditCase, ...]
    """Every instruction on every source."""
    cells: tuple[Cell, ...]
    """Everything to be made, ordered by candidate."""
    refused: tuple[Mapping[str, str], ...]
    """Files that are not in the matrix: {'name', 'reason'}."""
    subject: str
    """'photograph', 'figure', 'drawn' or 'other'."""
    must_have: tuple[str, ...]
    """Capabilities that the user needs."""
    target: float
    """Consistency rate that counts as good enough."""
    libraries: Mapping[str, str]
    """Versions that enter every cell's identity."""
    notes: tuple[str, ...] = ()
    """What the user should know before spending: satisfied cases left out, missing views, low power."""
    identity_packs: tuple[str, ...] = ()
    """Optional recognisers that help to judge identity; pictures do not depend on them, scores do."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What became of a cell."""

    cell: str
    """Cell id."""
    status: Literal["done", "failed"]
    """A failure stays in every denominator."""
    image: str | None
    """SHA-256 of the PNG in the store; None when failed."""
    seconds: Mapping[str, float]
    """Seconds by stage: 'denoise', 'decode', 'write', … ('total' included)."""
    peak_memory_bytes: int
    """Peak device memory (VRAM), or resident memory on a CPU."""
    error: str = ""
    """Reason of a failure, in one line."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Device, library versions, width, height and the settings actually used."""


# --------------------------------------------------------------------------- what is measured

Gate = Literal["valid", "edit", "identity", "artefact"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one metric says of one picture."""

    value: float | None
    """The figure, in the metric's unit; None when it could not be measured."""
    reason: str = ""
    """Why there is no value, or why it failed. Begins with 'not applicable' where the metric has no say."""
    passed: bool | None = None
    """Verdict of a gating metric; None when it has no say or could not be measured."""
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further figures and pixel regions ([x, y, width, height]), plain data."""


@dataclass(frozen=True, slots=True)
class Score:
    """A measurement of a cell, as stored. A human vote is a score with a rater."""

    cell: str
    """Cell id."""
    metric: str
    """'<axis>/<name>', such as 'identity/figure'."""
    version: int
    """Version of the metric."""
    value: float | None
    """The figure, or None with a reason."""
    reason: str = ""
    """Why there is none."""
    passed: bool | None = None
    """Verdict of a gating metric."""
    gate: Gate | None = None
    """Which condition of the consistency rate this metric decides; None for those that only inform."""
    rater: str = ""
    """Name of the person, '' for a machine."""
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further figures."""
