"""A data set to train on: pictures, captions, layouts, trainer settings, and a manifest of where all came from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whichlora import __version__
from whichlora.export import trainers
from whichlora.export.chosen import Choice
from whichlora.export.folder import write_json, write_text
from whichlora.export.layouts import WrittenPair, write_layouts
from whichlora.export.pairs import Selection
from whichlora.export.recipe import Recipe, learn
from whichlora.export.script import safe_name
from whichlora.store import Store
from whichlora.types import Candidate, Plan


@dataclass(frozen=True, slots=True)
class DatasetWish:
    """What the user wants of a data set."""

    layouts: Collection[str]
    """Names out of `layouts.LAYOUTS`."""
    trigger: str
    """Trigger word; '' for none."""
    name: str
    """Name of the new LoRA."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What was written."""

    pairs: int
    capabilities: Mapping[str, int]
    """Capability → pairs."""
    left_out: Mapping[str, int]
    """Reason → pictures."""
    review: str
    licences: Mapping[str, tuple[str, ...]]
    """Licence → set-ups whose pictures are in the data set."""
    notes: tuple[str, ...]
    """What the user should know before training, in sentences."""


def write_dataset(
    draft: Path, plan: Plan, store: Store, project: Path, chosen: tuple[Choice, Selection], wish: DatasetWish
) -> DatasetSummary:
    """Write a data set into an empty draft folder.

    Args:
        draft: Where.
        plan: The stored plan.
        store: The project's rows and pictures.
        project: The project's folder, for its photographs.
        chosen: Set-ups and the pairs of theirs that may be learnt from.
        wish: Layouts, trigger word and name.
    """
    choice, selection = chosen
    written = write_layouts(draft, selection.pairs, store, project, wish.layouts, wish.trigger)
    capabilities: dict[str, int] = {}
    for item in written:
        capabilities[item.pair.case.family] = capabilities.get(item.pair.case.family, 0) + 1
    recipe = learn(capabilities, len(written))
    notes = [*_notes(plan, selection, capabilities), *_write_trainers(draft, plan, written, wish, recipe)]
    licences = _licences(choice.candidates, written)
    if "unknown" in licences:
        notes.append(f"The licence of {', '.join(licences['unknown'])} is unknown: ask before you publish what you "
                     "train on its pictures.")
    summary = DatasetSummary(len(written), capabilities, dict(selection.left_out), selection.review, licences,
                             tuple(notes))
    write_json(draft / "manifest.json", {
        "schema": "whichlora.dataset/1", "whichlora": __version__, "project": plan.project,
        "base": plan.base.id, "base_fingerprint": plan.base.fingerprint, "base_options": dict(plan.base.options),
        "libraries": dict(plan.libraries), "why_these_set_ups": choice.reason, "trigger": wish.trigger,
        "layouts": sorted(wish.layouts), **asdict(summary), "recipe": asdict(recipe),
        "set_ups": [_set_up(row) for row in choice.candidates],
        "items": [_item(item, draft) for item in written],
    })
    write_text(draft / "README.md", _readme(plan, choice, summary, wish))
    return summary


def _write_trainers(
    draft: Path, plan: Plan, written: Sequence[WrittenPair], wish: DatasetWish, recipe: Recipe
) -> list[str]:
    if not {"musubi", "ai-toolkit"} & set(wish.layouts):
        return []
    if not trainers.trainable(plan.base.id):
        return [f"No trainer settings are written: none are known for the base '{plan.base.id}'. Write them for the "
                "base that you will train."]
    training = trainers.Training(safe_name(wish.name), plan.base.id, wish.trigger, recipe)
    if "musubi" in wish.layouts:
        trainers.write_musubi(draft / "musubi", training)
    if "ai-toolkit" in wish.layouts:
        trainers.write_ai_toolkit(draft / "ai-toolkit", training, written)
    return []


def _notes(plan: Plan, selection: Selection, capabilities: Mapping[str, int]) -> list[str]:
    notes = [
        f"No accepted picture shows '{name}', which you need: this data set cannot teach it."
        for name in plan.must_have if name not in capabilities
    ]
    photos = len({pair.case.source for pair in selection.pairs})
    notes.append(f"All pairs show one character from {photos} photographs: mix in other characters, or the LoRA "
                 "learns this one instead of the edit.")
    return notes


def _licences(candidates: Sequence[Candidate], written: Sequence[WrittenPair]) -> dict[str, tuple[str, ...]]:
    used = {item.pair.candidate.name for item in written}
    licences: dict[str, list[str]] = {}
    for row in candidates:
        if row.name in used and row.adapters:
            licences.setdefault(row.licence, []).append(row.name)
    return {licence: tuple(names) for licence, names in sorted(licences.items())}


def _set_up(row: Candidate) -> dict[str, Any]:
    return {
        "name": row.name, "licence": row.licence if row.adapters else "the base's own", "combine": row.combine,
        "trigger": row.trigger,
        "adapters": [{"name": use.name, "sha256": use.sha256, "weight": use.weight} for use in row.adapters],
        "sampler": {
            **{key: value for key, value in asdict(row.sampler).items() if key != "adapters"},
            "adapters": [{"name": use.name, "sha256": use.sha256, "weight": use.weight}
                         for use in row.sampler.adapters],
        },
    }


def _item(item: WrittenPair, draft: Path) -> dict[str, Any]:
    pair = item.pair
    return {
        "name": pair.name, "cell": pair.cell.id, "set_up": pair.candidate.name, "seed": pair.cell.seed,
        "capability": pair.case.family, "edit": pair.case.edit, "instruction": pair.instruction,
        "caption": pair.caption, "image": item.image.relative_to(draft).as_posix(), "image_sha256": pair.image,
        "people": {True: "accepted", None: "not asked", False: "rejected"}[pair.people],
        "controls": [
            {"file": path.relative_to(draft).as_posix(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
             "photograph": source.id, "photograph_sha256": source.sha256}
            for path, source in zip(item.controls, pair.sources, strict=True)
        ],
    }


def _readme(plan: Plan, choice: Choice, summary: DatasetSummary, wish: DatasetWish) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in sorted(summary.capabilities.items()))
    left = "\n".join(f"- {count}: {reason}" for reason, count in sorted(summary.left_out.items())) or "- none"
    notes = "\n".join(f"- {note}" for note in summary.notes)
    licences = "\n".join(f"- {licence}: {', '.join(names)}" for licence, names in summary.licences.items()) or "- none"
    return _README.format(
        project=plan.project, pairs=summary.pairs, counts=counts, review=summary.review, why=choice.reason,
        left=left, notes=notes, licences=licences, trigger=wish.trigger or "none",
        layouts=", ".join(f"`{name}/`" for name in sorted(wish.layouts)),
    )


_README = """\
# Pairs from the comparison '{project}'

{pairs} pairs of photograph, instruction and result ({counts}). Trigger word: {trigger}. {review} Set-ups: {why}

Layouts, all of the same pictures: {layouts}. `manifest.json` names for every picture its hash, seed, set-up,
instruction and photograph. Photographs are copies without metadata such as the place where they were taken.

Left out:

{left}

Before you train:

{notes}

Licences of the LoRAs that made the pictures:

{licences}
"""
