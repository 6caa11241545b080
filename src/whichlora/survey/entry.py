"""The facts of one surveyed repository, as frozen data. No judgement and no network.

Everything that was not said by a card, a header or a file list is None or empty, and is shown as 'unknown'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

VerdictWord = Literal["compatible", "incompatible", "unknown"]
ListName = Literal["must", "should", "skip"]
AXES = ("identity", "angle", "lighting", "background", "quality")
"""What is rated, in the order in which it is shown."""


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What the header of a weight file says; read by range request or from disk, never from a card."""

    layout: str
    """Key layout (see lora/formats.py)."""
    rank: int
    """Largest rank."""
    alpha: float | None
    """Alpha by the metadata, or None."""
    alpha_stored: bool
    """True when the file stores alphas as tensors, whose values a header does not hold."""
    modules: int
    """Number of adapted modules."""
    base_id: str
    """Base that the header points to; 'unknown' if nothing tells."""
    base_confidence: float
    """0 to 1."""
    base_evidence: tuple[str, ...]
    """Why, in sentences."""
    metadata: Mapping[str, str]
    """The header's own metadata, cleaned."""
    bytes_read: int
    """Bytes that were transferred to learn this."""
    refused: str = ""
    """Reason when the header was read and the file is not usable; '' otherwise."""
    declares_base: bool = False
    """True when the header's metadata names the base version, so that shapes were not all there was to go by."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One weight file of a repository."""

    name: str | None
    """Path inside the repository, in its own spelling; None when only a size is known."""
    size_bytes: int | None
    """Exact size, when the Hub or the disk said it."""
    size_mb: float | None = None
    """Size in 10⁶ bytes as published, when the exact one is unknown."""
    sha256: str | None = None
    """SHA-256 by the Hub's metadata."""
    base_model: str | None = None
    """Base that belongs to this file alone."""
    preferred: bool = False
    """True when its author names it as the one to use for its base."""
    header: HeaderFacts | None = None
    """What its header says; None when it was not read."""
    header_error: str = ""
    """Why the header could not be read."""
    unusable: str = ""
    """Why the file can be of no use, when its first bytes already show it."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """Another repository that the card asks for."""

    repo_id: str
    """Repository."""
    file: str | None
    """The file of it that fits the base and the steps; None when that is not known."""


@dataclass(frozen=True, slots=True)
class Training:
    """How it was trained, as far as anything says so."""

    trainer: str | None = None
    """Program."""
    rank: int | None = None
    """Rank."""
    alpha: float | None = None
    """Alpha."""
    steps: int | None = None
    """Optimiser steps."""
    learning_rate: float | None = None
    """Learning rate."""
    dataset: str | None = None
    """Data set, in a few words."""
    dataset_size: int | None = None
    """Pictures or pairs."""
    basis: tuple[str, ...] = ()
    """Where each figure comes from."""

    def known(self) -> dict[str, Any]:
        """The fields that something says, without the basis."""
        facts = asdict(self)
        facts.pop("basis")
        return {name: value for name, value in facts.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that the author recommends, with diffusers' names."""

    scale: str | None = None
    """Adapter weight, as text since cards give ranges."""
    num_inference_steps: int | None = None
    """Steps."""
    true_cfg_scale: float | None = None
    """Guidance."""


@dataclass(frozen=True, slots=True)
class SurveyEntry:
    """A repository as found, before any judgement."""

    repo_id: str
    """Hub id, or the path of a local file."""
    kind: str
    """'lora', 'full', 'controlnet' or 'unknown'."""
    card_bases: tuple[str, ...] = ()
    """Bases that the card (or the catalogue) declares."""
    base_source: str = "card"
    """Who declares them: 'card' or 'catalogue'."""
    base_per_file: bool = False
    """True when each file has a base of its own."""
    specialty: tuple[str, ...] = ()
    """What it is for, as short words."""
    inputs: int | None = None
    """Pictures it takes."""
    files: tuple[WeightFile, ...] = ()
    """Weight files."""
    prompts: tuple[str, ...] = ()
    """Trigger prompts in their own language."""
    settings: Settings = field(default_factory=Settings)
    """Recommended settings."""
    requires: tuple[Requirement, ...] = ()
    """What it says it needs."""
    training: Training = field(default_factory=Training)
    """How it was trained."""
    licence: str | None = None
    """Licence id; None when none is stated."""
    licence_source: str | None = None
    """Who says so."""
    last_update: str | None = None
    """Date, ISO."""
    downloads: int | None = None
    """Downloads of the last 30 days."""
    likes: int | None = None
    """Likes."""
    gated: bool = False
    """True when the author must admit the user first."""
    mirrors: tuple[str, ...] = ()
    """Other repositories with the same work."""
    notes: tuple[str, ...] = ()
    """What a user should know."""
    sources: tuple[str, ...] = ()
    """Where the facts come from."""
    conflicts: tuple[str, ...] = ()
    """Facts on which card, header and file name disagree, told and not averaged."""
    missing: str = ""
    """Why it cannot be had today (deleted, private), when the Hub said so; '' otherwise."""
    inspected: bool = False
    """True when its file list was read (it was on the shortlist)."""


@dataclass(frozen=True, slots=True)
class Rating:
    """A relevance from 1 (none) to 5 (made for it), with its reason."""

    value: int
    """1 to 5."""
    reason: str
    """Why, in a few words."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it fits the base that the user works on."""

    verdict: VerdictWord
    """'unknown' is a verdict too: nothing tells, or it fits in shape but was trained for a sibling."""
    evidence: tuple[str, ...]
    """One sentence per piece of evidence, the deciding one first."""
    conflicts: tuple[str, ...] = ()
    """Where card, header, file name and repository name disagree; they are shown, never averaged."""
    file: str | None = None
    """The weight file to use on this base; None when it is not known or must be chosen."""
    base_id: str | None = None
    """Base it was trained for, by the most trusted source that speaks."""
    loads: bool | None = None
    """True when the tensors fit the base, whatever it was trained for; None when nothing tells."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """An entry with everything that was concluded."""

    entry: SurveyEntry
    """Facts."""
    verdict: Verdict
    """Fit."""
    relevance: Mapping[str, Rating]
    """Axis → rating."""
    list: ListName
    """Whether to test it."""
    why: str
    """Reason for the list, in a sentence."""
