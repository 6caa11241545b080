"""Does a repository fit the base that the user works on, by what evidence, and where do its sources disagree?

Four sources speak, in this order of trust: the file's header, the card, the file name, the repository name. The most
trusted one that names a base decides; a less trusted one that says otherwise is shown as a conflict. Shapes in a
header overrule everybody when they belong to another architecture. This module judges facts; it reads nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from whichlora.survey import bases
from whichlora.survey.entry import SurveyEntry, Verdict, VerdictWord, WeightFile
from whichlora.survey.text import stem

_NOT_A_LORA = {
    "full": "It is a full model, not a LoRA: it can be a base of its own, not an adapter.",
    "controlnet": "It is a ControlNet, not a LoRA: it needs its own pipeline.",
}
_LARGEST_LORA_BYTES = 6_000_000_000
_SMALLEST_LORA_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Claim:
    """One source's word about the base."""

    source: str
    """'header', 'card' (or 'catalogue'), 'file name' or 'repository name'."""
    base: str
    """Base it names."""
    certain: bool
    """False when the name leaves the version open."""
    detail: str
    """What was read, for the evidence."""


def judge(entry: SurveyEntry, target: str) -> Verdict:
    """Judge one entry against a base; disagreements that reading it brought up are among the conflicts.

    Args:
        entry: Facts.
        target: Hub id of the base that the user works on.
    """
    verdict = _judge(entry, target)
    return replace(verdict, conflicts=tuple(dict.fromkeys((*verdict.conflicts, *entry.conflicts))))


def _judge(entry: SurveyEntry, target: str) -> Verdict:
    if entry.kind in _NOT_A_LORA:
        return Verdict("incompatible", (_NOT_A_LORA[entry.kind], *_declared(entry)), loads=False)
    judged = [(file, _judge_file(entry, file, target)) for file in _candidates(entry)]
    if not judged:
        return _judge_file(entry, None, target)
    order = {"compatible": 0, "unknown": 1, "incompatible": 2}
    best = min(order[verdict.verdict] for _, verdict in judged)
    fitting = [(file, verdict) for file, verdict in judged if order[verdict.verdict] == best]
    verdict = fitting[0][1]
    pick = choose([file for file, _ in fitting]) if best < 2 else None
    if pick is not None:
        verdict = next(each for file, each in fitting if file is pick)
    evidence = list(verdict.evidence)
    if len(judged) > 1:
        evidence.append(_census(judged, target))
    named = [file for file, _ in fitting if file.name is not None]
    if pick is None and len(named) > 1 and best < 2:
        evidence.append(f"{len(named)} of its files could be meant: name one when you fetch it.")
    conflicts = tuple(dict.fromkeys(line for _, each in judged for line in each.conflicts))
    return Verdict(
        verdict.verdict, tuple(evidence), conflicts, pick.name if pick is not None else None, verdict.base_id,
        verdict.loads,
    )


def file_verdicts(entry: SurveyEntry, target: str) -> dict[str, Verdict]:
    """Verdict of each named weight file on its own."""
    return {file.name: _judge_file(entry, file, target) for file in entry.files if file.name is not None}


def choose(files: list[WeightFile]) -> WeightFile | None:
    """The one file to use, or None when a person must choose.

    The one that its author names wins; then a repository's newest version when the names differ in nothing but a
    version, a date or a step count; and bf16 wins over fp32 of the same name.
    """
    if len(files) == 1:
        return files[0]
    preferred = [file for file in files if file.preferred]
    if len(preferred) == 1:
        return preferred[0]
    named = [file for file in files if file.name is not None]
    slim = [file for file in named if "fp32" not in (file.name or "").lower()] or named
    if len(slim) == 1:
        return slim[0]
    families = {_without_version(file.name or "") for file in slim}
    ranked = sorted(slim, key=lambda file: _version(file.name or ""))
    if len(families) == 1 and len(ranked) > 1 and _version(ranked[-1].name or "") > _version(ranked[-2].name or ""):
        return ranked[-1]
    return None


def _candidates(entry: SurveyEntry) -> list[WeightFile]:
    """Files that may be adapters; full transformers beside them are left out."""
    return [file for file in entry.files if (file.size_bytes or (file.size_mb or 0) * 1e6) < _LARGEST_LORA_BYTES]


def claims(entry: SurveyEntry, file: WeightFile | None) -> list[Claim]:
    """What each source says about the base of a file, most trusted first."""
    said: list[Claim] = []
    header = file.header if file is not None else None
    if header is not None and header.base_id != "unknown" and (header.declares_base or _foreign(header.base_id)):
        said.append(Claim("header", bases.canonical(header.base_id), True, "; ".join(header.base_evidence[:2])))
    said.extend(_card_claims(entry, file))
    if file is not None and file.name is not None:
        found, certain = bases.from_name(stem(file.name) if "/" not in file.name else file.name)
        if found:
            said.append(Claim("file name", found, certain, file.name))
    name = entry.repo_id.replace("\\", "/").rsplit("/", 1)[-1]
    found, certain = bases.from_name(name)
    if found and not (file is not None and file.name == name):
        said.append(Claim("repository name", found, certain, name))
    return said


def _card_claims(entry: SurveyEntry, file: WeightFile | None) -> list[Claim]:
    if file is not None and file.base_model:
        detail = f"this file is for {file.base_model}"
        return [Claim(entry.base_source, bases.canonical(file.base_model), True, detail)]
    if entry.base_per_file:  # the card lists bases of many files: it says nothing of this one
        return []
    listed: list[Claim] = []
    for declared in entry.card_bases:
        base = bases.canonical(declared)
        found, certain = bases.from_name(declared)
        known = base in bases.SAME_SHAPES or base == bases.QWEN_21 or (found is not None and certain)
        listed.append(Claim(entry.base_source, base if known else (found or base), known, declared))
    return listed


def _judge_file(entry: SurveyEntry, file: WeightFile | None, target: str) -> Verdict:
    """Verdict of one file, or of the repository as a whole when no file is known."""
    header = file.header if file is not None else None
    if header is not None and header.refused:
        return Verdict("incompatible", (f"Its header was read and refused: {header.refused}",), loads=False)
    if file is not None and file.unusable:
        return Verdict("incompatible", (f"Its first bytes were read and refused: {file.unusable}",), loads=False)
    if file is not None and file.size_bytes is not None and file.size_bytes < _SMALLEST_LORA_BYTES:
        size = f"{file.name} has only {file.size_bytes:,} bytes"
        line = f"{size}: a broken upload or a pointer, not a LoRA of a 20 B model."
        return Verdict("incompatible", (line,), loads=False)
    said = claims(entry, file)
    fits = _shapes_fit(file)
    deciding = _deciding(said, target)
    conflicts = _conflicts(said, deciding)
    evidence = _evidence(said, deciding, file)
    if deciding is None or not deciding.certain:
        lead = "Nothing names the version of its base." if said else "Nothing names its base."
        return Verdict("unknown", (lead, *evidence), conflicts, None, None, fits)
    word, sentence, loads = _weigh(deciding, target)
    if fits is False:
        word, loads = "incompatible", False
    return Verdict(word, (sentence, *evidence), conflicts, None, deciding.base, loads)


def _deciding(said: list[Claim], target: str) -> Claim | None:
    """The most trusted claim; among several bases of one card, the target if it is there."""
    if not said:
        return None
    certain = [claim for claim in said if claim.certain]
    if not certain:
        return said[0]
    first = certain[0].source
    same = [claim for claim in certain if claim.source == first]
    wanted = bases.canonical(target)
    return next((claim for claim in same if claim.base == wanted), same[0])


def _weigh(claim: Claim, target: str) -> tuple[VerdictWord, str, bool]:
    """Verdict word, deciding sentence and whether it loads, from the base it was trained for."""
    where = "The catalogue says" if claim.source == "catalogue" else f"Its {claim.source} says"
    kind = bases.relation(claim.base, target)
    base, goal = bases.short(claim.base), bases.short(bases.canonical(target))
    if kind == "same":
        return "compatible", f"{where} that it was trained for {goal}.", True
    if kind == "older":
        return "unknown", f"{where} that it was trained for {base}, an older base with the same shapes: it loads on " \
            f"{goal}, and only a test can tell what it does there.", True
    if kind == "newer":
        return "unknown", f"{where} that it was trained for {base}, which came after {goal}: it loads, and only a " \
            "test can tell what it does there.", True
    if kind == "generation":
        return "unknown", f"{where} that it was trained for {base}, the text-to-image sibling: it loads, but was " \
            "not made for editing.", True
    return "incompatible", f"{where} that it was trained for {claim.base}, another architecture than {goal}.", False


def _evidence(said: list[Claim], deciding: Claim | None, file: WeightFile | None) -> list[str]:
    lines = [
        f"{claim.source}: {bases.short(claim.base)}{'' if claim.certain else ' or a relative, version not told'} "
        f"({claim.detail})"
        for claim in said if claim is not deciding or claim.source in {"file name", "repository name"}
    ]
    if file is not None and file.header is not None:
        header = file.header
        alpha = "no alpha"
        if header.alpha is not None or header.alpha_stored:
            alpha = "alpha stored" if header.alpha is None else f"alpha {header.alpha:g}"
        lines.append(f"header read: {header.layout}, rank {header.rank}, {alpha}, {header.modules} modules")
        if not header.declares_base and header.base_evidence:
            lines.append(f"header: {header.base_evidence[0]}")
    elif file is not None and file.header_error:
        lines.append(f"header not read: {file.header_error}")
    else:
        lines.append("header not read")
    return list(dict.fromkeys(lines))


def _conflicts(said: list[Claim], deciding: Claim | None) -> tuple[str, ...]:
    """Every certain claim that contradicts the deciding one; several bases of one card are no contradiction."""
    if deciding is None or not deciding.certain:
        return ()
    lines: list[str] = []
    for claim in said:
        if not claim.certain or claim.base == deciding.base or claim.source == deciding.source:
            continue
        siblings = {other.base for other in said if other.source == claim.source}
        if deciding.base in siblings:
            continue
        lines.append(
            f"{deciding.source} says {bases.short(deciding.base)}, {claim.source} says {bases.short(claim.base)}"
        )
    return tuple(lines)


def _declared(entry: SurveyEntry) -> tuple[str, ...]:
    return (f"{entry.base_source}: base {', '.join(entry.card_bases)}",) if entry.card_bases else ()


def _census(judged: list[tuple[WeightFile, Verdict]], target: str) -> str:
    fit = sum(verdict.verdict == "compatible" for _, verdict in judged)
    return f"{fit} of its {len(judged)} listed files are for {bases.short(bases.canonical(target))}."


def _foreign(base: str) -> bool:
    """True for another architecture, which shapes alone can prove."""
    return base != "unknown" and bases.canonical(base) not in bases.SAME_SHAPES


def _shapes_fit(file: WeightFile | None) -> bool | None:
    if file is None or file.header is None:
        return None
    return None if file.header.base_id == "unknown" else not _foreign(file.header.base_id)


def _version(name: str) -> tuple[int, ...]:
    low = _without_base_and_steps(stem(name).lower())
    return tuple(int(part) for part in re.findall(r"\d+", low)) or (0,)


def _without_version(name: str) -> str:
    low = _without_base_and_steps(name.lower())
    return re.sub(r"[\d\W_]+", "", re.sub(r"(?:\bv|(?<=[_\W])v)(?=\d)", "", low))


def _without_base_and_steps(name: str) -> str:
    """Spell out numbers that are no version: the base's own, and the sampler steps of a distilled file."""
    low = re.sub(r"(?<!\d)25(?:09|11)(?!\d)", "base", name)
    return re.sub(r"(?<!\d)(\d{1,2})[\W_]?steps?", lambda found: "i" * int(found[1]) + "steps", low)
