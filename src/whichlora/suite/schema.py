"""Shape of `whichlora.yaml`. Unknown keys are refused, so a misspelt setting is never silently ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from whichlora.lora.merge import METHODS

FAMILIES = ("camera", "lighting", "background", "expression", "trigger")
"""Edit families, which are also the capabilities of a candidate."""

Name = Annotated[str, StringConstraints(pattern=r"^[^\s/\\:*?\"<>|+][^/\\:*?\"<>|+\x00-\x1f]{0,79}$")]
"""A name that every file system and the stack shorthand accept."""
RESERVED = ("base", "do-nothing", "vae-round-trip", "other-person", "real-pair")
"""Rows that every project has; no candidate may take their names."""


Capability = Literal["camera", "lighting", "background", "expression", "trigger", "identity", "artefacts"]
"""What a threshold or a weight may be about."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseSpec(_Strict):
    """Which model every candidate adapts."""

    family: str = "qwen_image_edit"
    location: str
    """Hub id, local diffusers folder, or a single transformer file."""
    options: dict[str, Any] = Field(default_factory=dict)


class SamplerSpec(_Strict):
    """Sampler settings that replace the base's own; what is left out keeps the base's default."""

    num_inference_steps: int | None = Field(default=None, ge=1, le=200)
    true_cfg_scale: float | None = Field(default=None, ge=1.0, le=30.0)
    negative_prompt: str | None = None
    scheduler: dict[str, Any] | None = None
    loras: str | None = None
    """Distillation LoRAs that belong to the sampler, such as Lightning; same shorthand as a candidate's."""
    reference_area_px: int | None = Field(default=None, ge=32 * 32, le=4096 * 4096)
    condition_area_px: int | None = Field(default=None, ge=28 * 28, le=2048 * 2048)


class EditSpec(_Strict):
    """One instruction, asked of every candidate on every source photograph."""

    name: Name
    family: Literal["camera", "lighting", "background", "expression", "trigger"]
    prompt: Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
    target: dict[str, Any] = Field(default_factory=dict)
    """What must change, in the words of the family's verifier: yaw_deg, pitch_deg, light, background, expression."""
    keep: list[str] = Field(default_factory=lambda: ["identity"])

    @field_validator("keep")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        known = {"identity", "background", "lighting", "pose", "clothes", "expression"}
        unknown = sorted(set(value) - known)
        if unknown:
            raise ValueError(f"unknown thing to keep: {unknown[0]!r}; known: {', '.join(sorted(known))}")
        return value


class OwnPrompt(_Strict):
    """The prompt that a LoRA's card advertises; asked of that LoRA and of the base."""

    prompt: Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
    target: dict[str, Any] = Field(default_factory=dict)


class CandidateSpec(_Strict):
    """One row: LoRAs with weights, and how they are sampled."""

    name: Name
    loras: Annotated[str, StringConstraints(min_length=1)]
    """'a.safetensors', 'a.safetensors:0.8' or 'a.safetensors:0.8 + b.safetensors:1.0'."""
    combine: str = "stack"
    """'stack' (changes are added), or the name of a merge method such as 'ties' (see `lora/merge.py`)."""
    density: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of the numbers that a pruning merge keeps."""
    merge_seed: int = Field(default=0, ge=0, le=2**31)
    """Seed of the 'dare' merges."""
    merge_rank: int | None = Field(default=None, ge=1, le=1024)
    """Rank of the '_svd' merges; the largest of the parts when left out."""
    sampler: str | None = None
    """Name of an entry of `samplers`; the base's own when left out."""
    both_ways: bool = True
    """Where the sampler brings LoRAs of its own, such as Lightning: also measure the candidate without them."""
    trigger: str = ""
    prompts: dict[str, str] = Field(default_factory=dict)
    own_prompt: OwnPrompt | None = None
    licence: str = "unknown"
    card: str = ""

    @field_validator("combine")
    @classmethod
    def _method(cls, value: str) -> str:
        if value != "stack" and value not in METHODS:
            raise ValueError(f"unknown way to combine: {value!r}; known: stack, {', '.join(METHODS)}")
        return value

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value.lower() in RESERVED:
            raise ValueError(f"the name {value!r} is taken by a row that every project has")
        return value


class SourceSpec(_Strict):
    """Which photographs are edited; the others of `refs/` calibrate the identity metric."""

    count: int = Field(default=5, ge=1, le=200)
    """How many, when `files` is empty: the best by sharpness and exposure, of varied views."""
    files: list[str] = Field(default_factory=list)
    """File names inside `refs/`, when you want to choose yourself."""


class Suite(_Strict):
    """The whole file."""

    schema_: Literal["whichlora.suite/1"] = Field(alias="schema")
    name: Name
    base: BaseSpec
    subject: Literal["auto", "photograph", "figure", "drawn", "other"] = "auto"
    target: float = Field(default=0.70, gt=0.0, lt=1.0)
    """Character consistency rate that is good enough."""
    must_have: list[Literal["camera", "lighting", "background", "expression", "trigger"]] = Field(min_length=1)
    """Capabilities that the winner needs."""
    thresholds: dict[Capability, Annotated[float, Field(gt=0.0, lt=1.0)]] = Field(default_factory=dict)
    """Rate that is good enough for single capabilities, instead of `target`; 'identity' and 'artefacts' as well."""
    weights: dict[Capability, Annotated[float, Field(ge=0.0, le=1e6)]] = Field(default_factory=dict)
    """Weights of must-haves in the choice among set-ups that pass; 1 where none is given."""
    max_seconds: float | None = Field(default=None, gt=0.0)
    """Longest acceptable seconds per picture; slower set-ups are never recommended."""
    max_vram_gib: float | None = Field(default=None, gt=0.0)
    """Largest acceptable peak memory in GiB; set-ups beyond are never recommended."""
    sources: SourceSpec = Field(default_factory=SourceSpec)
    seeds: list[Annotated[int, Field(ge=0, le=2**53)]] = Field(
        default_factory=lambda: [1, 2], min_length=1, max_length=1000
    )
    edits: list[EditSpec] = Field(min_length=1)
    samplers: dict[str, SamplerSpec] = Field(default_factory=dict)
    candidates: list[CandidateSpec] = Field(default_factory=list)
    identity_packs: list[Literal["yunet-sface", "auraface", "arcface", "dinov2", "ccip"]] = Field(default_factory=list)
    """Optional recognisers beside the packaged one; `whichlora packs` lists and installs them."""

    @field_validator("base", mode="before")
    @classmethod
    def _short_base(cls, value: Any) -> Any:
        return {"location": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        own = next((edit.name for edit in self.edits if edit.name.startswith("own-")), None)
        if own:
            raise ValueError(f"edit {own!r}: names that begin with 'own-' belong to a candidate's own prompt")
        for kind, names in (("edit", [e.name for e in self.edits]), ("candidate", [c.name for c in self.candidates])):
            seen: set[str] = set()
            for name in names:
                if name.casefold() in seen:
                    raise ValueError(f"two {kind}s are named {name!r}; names must differ in more than case")
                seen.add(name.casefold())
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed is listed twice; each seed may appear once")
        tested = {edit.family for edit in self.edits}
        missing = [capability for capability in self.must_have if capability not in tested]
        if missing:
            raise ValueError(f"must_have names {missing[0]!r}, but no edit of that family is listed")
        for candidate in self.candidates:
            if candidate.sampler is not None and candidate.sampler not in self.samplers:
                known = ", ".join(self.samplers) or "none"
                raise ValueError(f"candidate {candidate.name!r} names a sampler {candidate.sampler!r}; known: {known}")
            edits = {edit.name for edit in self.edits}
            unknown = sorted(set(candidate.prompts) - edits)
            if unknown:
                raise ValueError(f"candidate {candidate.name!r} words an edit {unknown[0]!r} that is not listed")
        return self
