"""Encode once: every distinct instruction and photograph is encoded exactly one time, before the first denoising."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from whichlora.families.base import Picture, Session
from whichlora.types import Candidate, Cell, EditCase, Plan, SamplerProfile, instruction


@dataclass(frozen=True)
class Encoded:
    """Encodings by key; opaque values from the family."""

    prompts: Mapping[object, Any] = field(default_factory=dict)
    """By (text, source ids, condition area)."""
    images: Mapping[object, Any] = field(default_factory=dict)
    """By (source id, reference area)."""

    def inputs(self, candidate: Candidate, case: EditCase) -> tuple[Any, Any | None, list[Any]]:
        """Prompt, negative prompt (None without guidance) and image encodings of a cell."""
        sampler = candidate.sampler
        prompt = self.prompts[prompt_key(instruction(candidate, case), case, sampler)]
        guided = sampler.true_cfg_scale > 1.0
        negative = self.prompts[prompt_key(sampler.negative_prompt, case, sampler)] if guided else None
        return prompt, negative, [self.images[key] for key in image_keys(case, sampler)]


def prompt_key(text: str, case: EditCase, sampler: SamplerProfile) -> tuple[object, ...]:
    """What an encoded instruction depends on: its text, the pictures it is read with, and their size."""
    return text, (case.source, *case.references), sampler.condition_area_px


def image_keys(case: EditCase, sampler: SamplerProfile) -> list[tuple[str, int]]:
    """What an encoded photograph depends on."""
    return [(name, sampler.reference_area_px) for name in (case.source, *case.references)]


@dataclass(frozen=True)
class Wanted:
    """Distinct inputs that cells need and that are not encoded yet."""

    texts: Mapping[object, tuple[str, EditCase, SamplerProfile]]
    """By prompt key."""
    photographs: Mapping[object, tuple[str, SamplerProfile]]
    """By image key."""

    def __len__(self) -> int:
        return len(self.texts) + len(self.photographs)


def wanted_encodings(plan: Plan, cells: Iterable[Cell], known: Encoded) -> Wanted:
    """What must still be encoded before the cells can be made; control rows need nothing."""
    candidates = {candidate.name: candidate for candidate in plan.candidates}
    cases = {case.id: case for case in plan.cases}
    texts: dict[object, tuple[str, EditCase, SamplerProfile]] = {}
    photographs: dict[object, tuple[str, SamplerProfile]] = {}
    for cell in cells:
        candidate, case = candidates[cell.candidate], cases[cell.case]
        if candidate.role == "control":
            continue
        sampler = candidate.sampler
        wanted = [instruction(candidate, case)]
        if sampler.true_cfg_scale > 1.0:
            wanted.append(sampler.negative_prompt)
        for text in wanted:
            key = prompt_key(text, case, sampler)
            if key not in known.prompts:
                texts.setdefault(key, (text, case, sampler))
        for key in image_keys(case, sampler):
            if key not in known.images:
                photographs.setdefault(key, (key[0], sampler))
    return Wanted(texts, photographs)


def encode_into(
    prompts: dict[object, Any], images: dict[object, Any], wanted: Wanted, session: Session,
    picture: Callable[[str], Picture],
) -> Iterator[int]:
    """Encode what is wanted, each distinct input once, into `prompts` and `images`.

    Yields:
        The number of inputs encoded so far, after each.
    """
    for done, (key, (text, case, sampler)) in enumerate(wanted.texts.items(), 1):
        prompts[key] = session.encode_prompt(text, [picture(name) for name in (case.source, *case.references)], sampler)
        yield done
    for done, (key, (name, sampler)) in enumerate(wanted.photographs.items(), len(wanted.texts) + 1):
        images[key] = session.encode_image(picture(name), sampler)
        yield done
