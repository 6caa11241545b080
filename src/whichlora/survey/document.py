"""The survey as a Markdown document and as plain data. Writes text; judges nothing.

Every word of a card goes through `text.markdown`, so a card can neither format the page nor link out of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from whichlora.survey import catalog
from whichlora.survey.entry import AXES, Assessed, Requirement, WeightFile
from whichlora.survey.text import markdown
from whichlora.survey.verdict import file_verdicts

_UNKNOWN = "unknown"


def to_data(items: Iterable[Assessed], target: str) -> dict[str, Any]:
    """The survey's JSON document: `base` and `entries`."""
    return {"base": target, "entries": [entry_data(item, target) for item in items]}


def entry_data(item: Assessed, target: str) -> dict[str, Any]:
    """One entry as plain data; what nobody says is null."""
    entry, verdict = item.entry, item.verdict
    verdicts = file_verdicts(entry, target)
    return {
        "repo_id": entry.repo_id, "file": verdict.file, "verdict": verdict.verdict,
        "evidence": list(verdict.evidence), "conflicts": list(verdict.conflicts),
        "base": verdict.base_id, "loads": verdict.loads, "kind": entry.kind, "specialty": list(entry.specialty),
        "relevance": {
            axis: {"value": rating.value, "reason": rating.reason} for axis, rating in item.relevance.items()
        },
        "training": {
            **{
                name: getattr(entry.training, name)
                for name in ("trainer", "rank", "alpha", "steps", "learning_rate", "dataset", "dataset_size")
            },
            "basis": list(entry.training.basis),
        },
        "requires": [{"repo_id": need.repo_id, "file": need.file} for need in entry.requires],
        "licence": entry.licence, "licence_source": entry.licence_source,
        "list": item.list, "why": item.why,
        "prompts": list(entry.prompts), "inputs": entry.inputs,
        "settings": {
            "scale": entry.settings.scale, "num_inference_steps": entry.settings.num_inference_steps,
            "true_cfg_scale": entry.settings.true_cfg_scale,
        },
        "files": [_file_data(file, verdicts) for file in entry.files],
        "last_update": entry.last_update, "downloads_30d": entry.downloads, "likes": entry.likes,
        "gated": entry.gated, "mirrors": list(entry.mirrors), "notes": list(entry.notes),
        "sources": list(entry.sources), "inspected": entry.inspected,
    }


def _file_data(file: WeightFile, verdicts: dict[str, Any]) -> dict[str, Any]:
    verdict = verdicts.get(file.name or "")
    header = file.header
    return {
        "name": file.name, "size_bytes": file.size_bytes, "size_mb": file.size_mb, "sha256": file.sha256,
        "verdict": verdict.verdict if verdict else None,
        "header": None if header is None else {
            "layout": header.layout, "rank": header.rank, "alpha": header.alpha, "modules": header.modules,
            "base": header.base_id, "base_confidence": header.base_confidence,
            "evidence": list(header.base_evidence), "bytes_read": header.bytes_read,
        },
        "problem": file.unusable or file.header_error or (header.refused if header else "") or None,
    }


def to_markdown(items: Sequence[Assessed], target: str, *, origin: str, command: str) -> str:
    """The survey document.

    Args:
        items: Assessed entries, most worth testing first.
        target: Base that the survey is for.
        origin: Where the facts come from, in a sentence.
        command: The command that writes this document again.
    """
    lists = {name: [item for item in items if item.list == name] for name in ("must", "should", "skip")}
    counts = Counter(item.verdict.verdict for item in items)
    lines = [
        f"# LoRAs for {target.rsplit('/', 1)[-1]}: a survey", "",
        f"<!-- Written by `{command}`.", "Do not edit: change the catalogue or the code, and write it again. -->", "",
        f"Base: `{target}`. {origin}", "",
        f"{len(items)} repositories: {counts['compatible']} made for this base, {counts['incompatible']} that cannot "
        f"load, {counts['unknown']} for a sibling base or unstated. "
        f"**{len(lists['must'])} must be tested, {len(lists['should'])} should be, "
        f"{len(lists['skip'])} may be left out.**", "",
        "How to read it: *relevance* is 1 (none) to 5 (made for it) and rests on what authors claim, never on "
        "pictures; only a run decides. *Quality* counts signs (use, likes, stated training, reported weaknesses). "
        "A field that nobody states is 'unknown'; nothing is guessed.", "",
    ]
    titles = {"must": "Must test", "should": "Should test"}
    for name, title in titles.items():
        lines += [f"## {title}", "", *_ratings_table(lists[name]), ""]
    lines += ["## May be left out", "", *_skip_table(lists["skip"]), ""]
    lines += ["## In detail", ""]
    for item in [*lists["must"], *lists["should"]]:
        lines += _details(item, target)
    lines += ["## How they were trained", "", *_training_table(items), ""]
    conflicts = [item for item in items if item.verdict.conflicts]
    lines += ["## Where sources disagree", ""]
    if conflicts:
        lines += [
            f"- `{item.entry.repo_id}`: {markdown(line)}" for item in conflicts for line in item.verdict.conflicts
        ]
    else:
        lines.append("No two sources of one entry contradict each other.")
    return "\n".join(lines).rstrip() + "\n"


def offline_origin() -> str:
    """Sentence on the bundled catalogue."""
    return (
        f"Facts from the catalogue bundled with whichlora, gathered {catalog.gathered()}; no header was read for it. "
        "`whichlora survey` asks the Hub for today's state and reads the headers."
    )


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _ratings_table(items: Sequence[Assessed]) -> list[str]:
    if not items:
        return ["None."]
    head = ["repository", "fits", *AXES, "licence", "why"]
    lines = [_row(head), _row(["---"] * len(head))]
    for item in items:
        values = [str(item.relevance[axis].value) for axis in AXES]
        lines.append(_row([
            f"`{item.entry.repo_id}`", item.verdict.verdict, *values, markdown(item.entry.licence or _UNKNOWN),
            markdown(item.why),
        ]))
    return lines


def _skip_table(items: Sequence[Assessed]) -> list[str]:
    if not items:
        return ["None."]
    lines = [_row(["repository", "fits", "why"]), _row(["---"] * 3)]
    lines += [_row([f"`{item.entry.repo_id}`", item.verdict.verdict, markdown(item.why)]) for item in items]
    return lines


def _details(item: Assessed, target: str) -> list[str]:
    entry = item.entry
    settings = entry.settings
    shown = [
        f"weight {settings.scale}" if settings.scale else "",
        f"{settings.num_inference_steps} steps" if settings.num_inference_steps else "",
        f"CFG {settings.true_cfg_scale:g}" if settings.true_cfg_scale is not None else "",
    ]
    popularity = [
        f"{entry.downloads:,} downloads in 30 days" if entry.downloads is not None else "",
        f"{entry.likes:,} likes" if entry.likes is not None else "",
    ]
    facts = [
        ("Fits", f"{item.verdict.verdict}. {' '.join(_sentence(line) for line in item.verdict.evidence)}"),
        ("Relevance", "; ".join(f"{axis} {rating.value}: {rating.reason}" for axis, rating in item.relevance.items())),
        ("For", ", ".join(entry.specialty)),
        ("Pictures in", str(entry.inputs) if entry.inputs is not None else ""),
        ("Recommended", ", ".join(part for part in shown if part)),
        ("Needs", ", ".join(_need(need) for need in entry.requires)),
        ("Training", _training_line(item)),
        ("Licence", f"{entry.licence} ({entry.licence_source})" if entry.licence else ""),
        ("Updated", entry.last_update or ""),
        ("Popularity", ", ".join(part for part in popularity if part)),
    ]
    lines = [f"### `{entry.repo_id}`", ""]
    lines += [f"- {label}: {markdown(text, limit=900) if text else _UNKNOWN}" for label, text in facts]
    lines.append(f"- Files: {'; '.join(_file_line(file) for file in entry.files) or _UNKNOWN}")
    if item.verdict.file and len(entry.files) > 1:
        lines.append(f"- File for this base: {markdown(item.verdict.file)}")
    if entry.prompts:
        lines.append("- Prompts:")
        lines += [f"    - {markdown(prompt)}" for prompt in entry.prompts]
    else:
        lines.append(f"- Prompts: {_UNKNOWN}")
    lines += [f"- Note: {markdown(note)}" for note in entry.notes]
    return [*lines, ""]


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _need(need: Requirement) -> str:
    return f"{need.repo_id}: {need.file or 'file unknown'}"


def size_text(file: WeightFile) -> str:
    """Size for people: exact in MB or GB when known, else as published, else 'size unknown'."""
    size = file.size_bytes / 1e6 if file.size_bytes is not None else file.size_mb
    if size is None:
        return "size unknown"
    return f"{size / 1000:.1f} GB" if size >= 1000 else f"{size:.0f} MB" if size >= 1 else f"{size * 1000:.0f} kB"


def _file_line(file: WeightFile) -> str:
    return f"{markdown(file.name or 'name unknown')} ({size_text(file)})"


def _training_line(item: Assessed) -> str:
    training = item.entry.training
    known = training.known()
    if not known:
        return ""
    words = [f"{name.replace('_', ' ')} {value:g}" if isinstance(value, int | float) else f"{name} {value}"
             for name, value in known.items()]
    basis = f" ({'; '.join(training.basis)})" if training.basis else ""
    return ", ".join(words) + basis


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, int | float) else markdown(value)


def _training_table(items: Sequence[Assessed]) -> list[str]:
    told = [item for item in items if item.entry.training.known() and item.entry.kind == "lora"]
    if not told:
        return ["Nobody tells."]
    columns = ("trainer", "rank", "alpha", "steps", "learning_rate", "dataset", "dataset_size")
    lines = [_row(["repository", *(name.replace("_", " ") for name in columns), "known from"]), _row(["---"] * 9)]
    for item in told:
        training = item.entry.training
        cells = [getattr(training, name) for name in columns]
        texts = [_cell(cell) for cell in cells]
        known_from = markdown("; ".join(training.basis) or "its author", limit=200)
        lines.append(_row([f"`{item.entry.repo_id}`", *texts, known_from]))
    untold = sum(item.entry.kind == "lora" for item in items) - len(told)
    lines += ["", f"Of {untold} further LoRAs nothing is known."]
    return lines
