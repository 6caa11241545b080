"""A look at the source photographs before anything is spent: are they fit, whose are they, what is missing?

Facts are recorded as plain data; what a user should know is said in sentences. No picture is changed, none leaves the
machine, and no verdict on a candidate is reached here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import PhotoError
from whichlora.suite import _photo_facts as measure
from whichlora.suite._photo_facts import look
from whichlora.vision.picture import open_picture

__all__ = [
    "PhotoSet", "advice", "already_satisfied", "examine_photos", "missing_views", "open_picture",
]

KINDS = ("photograph", "figure", "drawn", "other")
SAME_FACE_DISTANCE = 0.6
SAME_FIGURE_SIMILARITY = 0.5
MIN_FACE_PX = 48
SHARP_ENOUGH = 3.5
"""Contrast of fine detail (grey levels at 512 px) below which a photograph is blurred."""
VIEWS: Mapping[str, tuple[float, float]] = {
    "profile from the viewer's left": (-180.0, -50.0),
    "half profile from the viewer's left": (-50.0, -15.0),
    "front": (-15.0, 15.0),
    "half profile from the viewer's right": (15.0, 50.0),
    "profile from the viewer's right": (50.0, 180.0),
}
"""View → camera yaw in degrees (> 0: the camera stands to the viewer's right, the face looks to the picture's left)."""


@dataclass(frozen=True)
class PhotoSet:
    """What was seen in a set of photographs."""

    kind: str
    """'photograph', 'figure', 'drawn' or 'other': decides which metrics have a say."""
    facts: tuple[Mapping[str, Any], ...]
    """Per photograph, in the order given: plain facts; 'unfit' holds a reason when it should not be edited."""
    notes: tuple[str, ...]
    """What the user should know, one sentence each."""
    identities: int
    """How many different characters were told apart; 0 when nothing can tell."""


def examine_photos(paths: Sequence[Path | str], kind: str = "auto") -> PhotoSet:
    """Look at every photograph and at the set.

    Args:
        paths: PNG, JPEG or WebP files.
        kind: 'auto', or what the user says the subject is.

    Raises:
        PhotoError: No file was given, or one cannot be read; the message names it.
    """
    if not paths:
        raise PhotoError("No photograph was given.", fix="Name at least one PNG, JPEG or WebP file.")
    if kind != "auto" and kind not in KINDS:
        raise PhotoError(f"There is no kind of subject '{kind}'.", fix=f"Known: auto, {', '.join(KINDS)}.")
    names = [Path(path).name for path in paths]
    looks = [look(open_picture(path)) for path in paths]
    kind = measure.kind_of(looks) if kind == "auto" else kind
    facts = [measure.facts_of(item, kind) for item in looks]
    for entry in facts:
        if problem := _quality_problem(entry, kind):
            entry["unfit"] = problem
    _mark_duplicates(facts, [item.hash for item in looks], [item.thumbnail for item in looks], names)
    groups, identity_notes = _identities(facts, looks, names, kind)
    notes = [*_photo_notes(facts, names), *identity_notes, *missing_views(facts, kind), *_size_notes(facts)]
    return PhotoSet(kind, tuple(facts), tuple(notes), groups)


def _mark_duplicates(
    facts: list[dict[str, Any]], hashes: Sequence[NDArray[np.bool_]], small: Sequence[NDArray[np.float32]],
    names: Sequence[str],
) -> None:
    """Record of each photograph which earlier one it repeats (perceptual hash, confirmed on a thumbnail)."""
    for index, entry in enumerate(facts):
        for earlier in range(index):
            bits = int((hashes[index] != hashes[earlier]).sum())
            differ = float(np.abs(small[index] - small[earlier]).mean())
            if bits <= 0.06 * hashes[index].size and differ < 6.0:
                entry["duplicate_of"] = names[earlier]
                entry.setdefault("unfit", f"repeats {names[earlier]}")
                break


def _identities(
    facts: list[dict[str, Any]], looks: Sequence[measure.Look], names: Sequence[str], kind: str,
) -> tuple[int, list[str]]:
    """Group photographs by who they show; say which ones are odd. 0 groups when nothing can tell."""
    # A blurred or dark face looks like nobody: only fit photographs say who they show.
    fit = [index for index, entry in enumerate(facts) if not entry.get("unfit") or entry.get("duplicate_of")]
    vectors = [(index, looks[index].embedding(kind)) for index in fit]
    known = [(index, vector) for index, vector in vectors if vector is not None]
    if not known:
        return 0, []
    labels = _clusters(np.stack([vector for _, vector in known]), kind)
    sizes = {label: labels.count(label) for label in set(labels)}
    main = max(sizes, key=lambda label: (sizes[label], -label))
    notes: list[str] = []
    for (index, _), label in zip(known, labels, strict=True):
        facts[index]["identity"] = label
        facts[index]["odd_one_out"] = label != main
        if label != main:
            facts[index]["unfit"] = "seems to show somebody else"
    odd = [names[index] for (index, _), label in zip(known, labels, strict=True) if label != main]
    if odd and sizes[main] * 2 <= len(known):
        notes.append(
            f"The photographs seem to show {len(sizes)} different characters; a project compares one. "
            "Keep the photographs of one character in refs/.",
        )
    elif odd:
        notes.append(
            f"{_listing(odd)} {'seems' if len(odd) == 1 else 'seem'} to show somebody else than the other "
            f"{sizes[main]}; take {'it' if len(odd) == 1 else 'them'} out unless you know better.",
        )
    return len(sizes), notes


def _clusters(vectors: NDArray[np.float32], kind: str) -> list[int]:
    """Average-linkage groups at the recogniser's usual threshold; labels count from 0 by first appearance."""
    if len(vectors) == 1:
        return [0]
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    if kind == "figure":
        tree, cut = linkage(pdist(vectors, "cosine"), "average"), 1 - SAME_FIGURE_SIMILARITY
    else:
        tree, cut = linkage(pdist(vectors), "average"), SAME_FACE_DISTANCE
    raw = fcluster(tree, cut, "distance").tolist()
    order: dict[int, int] = {}
    return [order.setdefault(label, len(order)) for label in raw]


def _quality_problem(entry: Mapping[str, Any], kind: str) -> str:
    """Why a photograph should not be edited, whoever it shows; worst reason first, '' when it is fit."""
    if entry["brightness"] < 8 or entry["dark_share"] > 0.85:
        return "far too dark"
    if entry["bright_share"] > 0.6:
        return "far too bright"
    if kind == "figure" and entry.get("figure_present", 1.0) < 0.5:
        return "no figure was found"
    if kind != "photograph":
        return ""
    if not entry["faces"]:
        return "no face was found"
    if entry["face_px"] < MIN_FACE_PX:
        return f"the face is only {entry['face_px']} px wide"
    return "blurred" if entry["sharpness"] < SHARP_ENOUGH else ""


def _photo_notes(facts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """One sentence per kind of fault, naming the photographs."""
    faults: dict[str, list[str]] = {}
    for entry, name in zip(facts, names, strict=True):
        if entry.get("unfit") and not entry.get("odd_one_out"):
            faults.setdefault(str(entry["unfit"]), []).append(name)
        elif entry.get("faces", 0) > 1 and entry.get("second_face_share", 0) > 0.25:
            faults.setdefault("shows more than one person", []).append(name)
    return [f"{_listing(who)}: {what}." for what, who in faults.items()]


def _size_notes(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    fit = sum(1 for entry in facts if not entry.get("unfit"))
    if fit >= 20:
        return []
    goal = 5 if fit < 5 else 10 if fit < 10 else 20
    if fit >= 10:
        return []
    return [f"{fit} photograph{'' if fit == 1 else 's'} can be used; {advice(goal)}"]


def missing_views(facts: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    """Sentences on the views that no usable photograph shows; none where views cannot be measured."""
    if kind not in ("photograph", "figure"):
        return []
    yaws = [entry["yaw_deg"] for entry in facts if entry.get("yaw_deg") is not None and not entry.get("unfit")]
    if not yaws:
        return []
    absent = [name for name, (low, high) in VIEWS.items() if not any(low <= yaw < high for yaw in yaws)]
    notes = []
    if absent:
        notes.append(f"Views that no photograph shows: {_listing(absent)}. Identity is judged less surely there.")
    bright = [entry["brightness"] for entry in facts if not entry.get("unfit")]
    if len(bright) >= 3 and max(bright) - min(bright) < 8:
        notes.append("All photographs are about equally bright; one in other light makes identity safer to judge.")
    return notes


def advice(n: int) -> str:
    """What makes a good set of `n` photographs, in one sentence.

    Args:
        n: 5, 10 or 20; other numbers get the advice for the nearest of these below (or 5).
    """
    if n >= 20:
        return ("a good set of twenty: five views (front, both half profiles, both profiles) in four lights and "
                "places each, several days and clothes, three expressions; that narrows every interval and lets "
                "identity be calibrated per view.")
    if n >= 10:
        return ("a good set of ten: two each of front, both half profiles and both profiles, in at least three "
                "lights and three places, with different expressions; five are edited and five calibrate identity.")
    return ("a good set of five: front, both half profiles, one profile and one other light; sharp, the face at "
            "least 200 px wide, one person only, no filter, no two from one burst.")


def already_satisfied(facts: Mapping[str, Any], family: str, target: Mapping[str, Any]) -> str:
    """Why a photograph already is what an edit asks for; '' when it is not, or nothing can tell.

    Args:
        facts: Facts of the photograph (see `PhotoSet`).
        family: Edit family, such as 'background'.
        target: What must change, such as {'background': 'beach'}.
    """
    named = {"background": "background", "lighting": "light", "expression": "expression"}
    key = named.get(family)
    asked = str(target.get(key, "")).strip().lower() if key else ""
    if asked and str(facts.get(key or "", "")).lower() == asked:
        return f"the {key} already is '{asked}'"
    if family == "background" and asked in ("studio", "plain") and facts.get("background_plain"):
        return "the background already is plain"
    if family == "camera":
        return _camera_satisfied(facts.get("yaw_deg"), target)
    return ""


def _camera_satisfied(yaw: Any, target: Mapping[str, Any]) -> str:
    """Absolute views can be there already; turns are relative and never are."""
    if not isinstance(yaw, (int, float)):
        return ""
    if target.get("view") == "front" and abs(yaw) < 12:
        return f"it already is a front view (yaw {yaw:.0f}°)"
    if target.get("view") == "back" and abs(yaw) > 150:
        return f"it already is a view from behind (yaw {yaw:.0f}°)"
    return ""


def _listing(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'; long lists are cut."""
    shown = list(names[:6]) + ([f"{len(names) - 6} more"] if len(names) > 6 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
