"""`whichlora inspect FILE | REPO[:FILE]`: what is inside a LoRA file, and would it load?

A local file is read whole: its header, then every value. Of a file on the Hub only the header is read, by a range
request. Nothing is downloaded, nothing is executed, and torch is not needed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.errors import MachineError, RefusedError, UserError
from whichlora.types import LoraFile

WIDTH = 100
_REPO = re.compile(r"(?P<repo>[\w.\-]+/[\w.\-]+)(?::(?P<file>.+))?")
_TOLD = (
    "modelspec.architecture", "modelspec.title", "ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_steps",
    "ss_num_epochs", "ss_num_train_items", "ss_learning_rate", "ss_optimizer", "ss_base_model_version",
    "ss_output_name", "software", "training_info", "ot_revision",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `inspect` has to say of one target."""

    name: str
    """Name shown."""
    file: LoraFile | None
    """The facts, or None when it is no readable safetensors file."""
    reason: str
    """Why it would not load; '' when it would."""
    checked: str
    """'whole file' or 'header'."""
    bytes_read: int
    """Bytes of the file that were looked at."""
    notes: tuple[str, ...] = ()
    """What is worth knowing."""
    fix: str = ""
    """What to do about the reason."""
    zero_modules: tuple[str, ...] = field(default=())
    """Modules that the file leaves unchanged."""


@guarded
def command(
    target: Annotated[str, typer.Argument(help="A .safetensors file, or REPO[:FILE] on the Hub.")],
    other: Annotated[
        str | None, typer.Argument(help="With --overlap: a second file, compared in weight space.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Folder of the model (with transformer/config.json) it must fit.")
    ] = None,
    base: Annotated[
        str, typer.Option("--base", help="Base you mean to use it on, such as Qwen/Qwen-Image-Edit-2509.")
    ] = "",
    header_only: Annotated[
        bool, typer.Option("--header-only", help="Do not look at the values, only at names and shapes.")
    ] = False,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Show where two files meet: shared layers, direction, sign conflict.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what is inside a LoRA file and whether it would load."""
    if overlap or other is not None:
        if not overlap or other is None:
            raise UserError("--overlap compares two files.",
                            fix="whichlora inspect A.safetensors B.safetensors --overlap")
        from whichlora.cli.overlap import show

        show(Path(target), Path(other), model, json=json)
        return
    verdict = examine(target, model=model, base=base, header_only=header_only)
    if json:
        emit_json("whichlora.inspect/1", to_document(verdict))
    else:
        for line in lines(verdict):
            answer_console.print(line, markup=False)
    if verdict.reason:
        raise SystemExit(1)


inspect_command = command


def examine(target: str, *, model: Path | None = None, base: str = "", header_only: bool = False) -> Verdict:
    """Inspect a local file or a remote header.

    Raises:
        UserError: There is nothing of that name, or several files to choose from.
        MachineError: The Hub cannot be asked.
    """
    from whichlora.lora.keys import ModelShape

    shape = ModelShape.from_folder(model) if model is not None else None
    match = _REPO.fullmatch(target)
    path = Path(target)
    is_remote = match is not None and not path.exists() and (match["file"] or not target.endswith(".safetensors"))
    if is_remote and match is not None:
        verdict = _remote(match["repo"], match["file"], shape)
    else:
        verdict = _local(path, shape, header_only=header_only)
    return _against(verdict, base)


def _local(path: Path, shape: Any, *, header_only: bool) -> Verdict:
    from whichlora.lora.header import TensorFile, printable, read_header
    from whichlora.lora.inspect import inspect_lora, sha256_of
    from whichlora.lora.static import check_static, check_structure
    from whichlora.lora.structure import load_structure

    name = printable(path.name, 300)
    if path.is_dir():
        raise UserError(f"'{printable(str(path))}' is a folder; name one .safetensors file in it.")
    try:
        header = read_header(path)
        file = inspect_lora(path, shape)
    except RefusedError as error:
        return Verdict(name, None, error.reason, "header", 0, fix=error.fix)
    checked = "header" if header_only else "whole file"
    try:
        if header_only:
            with TensorFile(path, header) as tensors:
                check_structure(load_structure(tensors), shape)
                read = tensors.bytes_read
            return Verdict(name, file, "", checked, read, file.notes)
        report = check_static(file, path, shape)
    except RefusedError as error:
        return Verdict(name, file, error.reason, checked, header.header_bytes, file.notes, error.fix)
    # Hashed last: a refused file is not worth reading once more.
    file = replace(file, sha256=sha256_of(path))
    notes = list(file.notes)
    if report.zero_modules:
        notes.append(f"{len(report.zero_modules)} of {report.modules} modules are zero and change nothing.")
    return Verdict(name, file, "", checked, report.bytes_read, tuple(notes), zero_modules=report.zero_modules)


def _remote(repo: str, wanted: str | None, shape: Any) -> Verdict:
    from whichlora.lora.inspect import inspect_header
    from whichlora.lora.static import check_structure
    from whichlora.lora.structure import build

    try:
        from whichlora.survey.hubclient import HubClient
        from whichlora.survey.remote import read_remote_header
    except ImportError as error:
        raise MachineError(
            "This installation cannot read headers on the Hub.", fix="Download the file and inspect it locally.",
        ) from error
    client = HubClient()
    info = client.model_info(repo)
    found = [str(item.get("rfilename", "")) for item in info.get("siblings") or [] if isinstance(item, dict)]
    weights = [name for name in found if name.endswith(".safetensors")]
    if wanted is None:
        if len(weights) != 1:
            listing = ", ".join(weights[:8]) or "none"
            raise UserError(
                f"{repo} holds {len(weights)} .safetensors files: {listing}.", fix=f"Name one: {repo}:FILE",
            )
        wanted = weights[0]
    name = f"{repo}:{wanted}"
    card = info.get("cardData")
    try:
        remote = read_remote_header(repo, wanted, client=client)
        file = inspect_header(
            remote.header, wanted.rsplit("/", 1)[-1], shape, card=card if isinstance(card, dict) else None, repo=repo,
        )
    except RefusedError as error:
        return Verdict(name, None, error.reason, "header", 0, fix=error.fix)
    reason, fix = "", ""
    try:
        check_structure(build(remote.header), shape)
    except RefusedError as error:
        reason, fix = error.reason, error.fix
    return Verdict(name, file, reason, "header", remote.bytes_read, file.notes, fix)


def _against(verdict: Verdict, base: str) -> Verdict:
    """Compare the file's base with the one that the user means."""
    from whichlora.lora.base import OTHER_FAMILIES, QWEN_FAMILY

    file = verdict.file
    if not base or file is None or file.base.id in (base, "unknown"):
        return verdict
    found = f"the evidence says {file.base.id} (confidence {file.base.confidence:.2f})"
    if base in OTHER_FAMILIES:
        reason = verdict.reason or f"It is not made for {base}: {found}."
        return replace(verdict, reason=reason)
    note = f"You mean to use it on {base}; {found}."
    if {base, file.base.id} <= QWEN_FAMILY:
        note += " Both are versions of one family: it can be applied, with an effect of its own."
    return replace(verdict, notes=(*verdict.notes, note))


def to_document(verdict: Verdict) -> dict[str, Any]:
    """The JSON document of a verdict; the same fields whether it loads or not."""
    file = verdict.file
    document: dict[str, Any] = {
        "name": verdict.name, "loads": not verdict.reason, "reason": verdict.reason, "fix": verdict.fix,
        "checked": verdict.checked, "bytes_read": verdict.bytes_read, "notes": list(verdict.notes),
        "layout": "unreadable", "rank": 0, "alpha": None, "target_modules": [],
        "base": {"id": "unknown", "confidence": 0.0, "evidence": []},
        "modules": 0, "kinds": {}, "scales": [], "size_bytes": None, "sha256": None, "unmatched": [], "metadata": {},
        "zero_modules": list(verdict.zero_modules),
    }
    if file is not None:
        document |= {
            "layout": file.layout, "rank": file.rank, "alpha": file.alpha, "target_modules": list(file.target_modules),
            "base": {
                "id": file.base.id, "confidence": file.base.confidence, "evidence": list(file.base.evidence),
            },
            "modules": len(file.modules), "kinds": dict(Counter(module.kind for module in file.modules)),
            "scales": sorted({round(module.scale, 9) for module in file.modules}),
            "size_bytes": file.size_bytes, "sha256": file.sha256, "unmatched": list(file.unmatched),
            "metadata": dict(file.metadata),
        }
    return document


def lines(verdict: Verdict, width: int = 0) -> list[str]:
    """The verdict as text, at most 100 columns wide."""
    from whichlora.lora.header import printable

    width = min(WIDTH, width or progress_console.width or WIDTH)
    mark = "✗ would not load" if verdict.reason else "✓ would load"
    rows: list[tuple[str, str]] = []
    file = verdict.file
    if verdict.reason:
        rows.append(("reason", verdict.reason))
    if verdict.fix:
        rows.append(("next step", verdict.fix))
    if file is not None:
        rows += _facts(file)
    rows += [("note", note) for note in verdict.notes]
    extent = "until the reason was found" if verdict.reason else f"{verdict.bytes_read:,} bytes read"
    rows.append(("checked", f"{verdict.checked} ({extent})"))
    out = _wrap(f"{mark}: {printable(verdict.name, 300)}", width, "")
    for label, text in rows:
        out += _wrap(printable(text, 2000), width, f"  {label:<10} ")
    return out


def _wrap(text: str, width: int, lead: str) -> list[str]:
    """Wrap by terminal cells, since a Chinese character takes two; the first line begins with `lead`."""
    from rich.cells import cell_len, chop_cells

    room = max(10, width - len(lead))
    out, line = [], ""
    for word in text.split():
        for piece in chop_cells(word, room) if cell_len(word) > room else [word]:
            if line and cell_len(line) + 1 + cell_len(piece) > room:
                out.append(line)
                line = piece
            else:
                line = f"{line} {piece}".strip()
    out.append(line)
    indent = " " * len(lead)
    return [((lead if place == 0 else indent) + part).rstrip() for place, part in enumerate(out)]


def _facts(file: LoraFile) -> list[tuple[str, str]]:
    """Labelled facts of a readable file."""
    kinds = Counter(module.kind for module in file.modules)
    scales = sorted({round(module.scale, 6) for module in file.modules})
    ranks = sorted({module.rank for module in file.modules if module.rank})
    alpha = "none" if not any(module.alpha is not None for module in file.modules) else (
        "mixed" if file.alpha is None else f"{file.alpha:g}"
    )
    rows = [("size", f"{file.size_bytes:,} bytes"), ("layout", file.layout)]
    if file.modules:
        rows += [
            ("changes", ", ".join(f"{count} × {kind}" for kind, count in kinds.items())),
            ("rank", _span(ranks) or "none"),
            ("alpha", f"{alpha}; strength {_span(scales)}"),
            ("targets", ", ".join(file.target_modules)),
        ]
    rows.append(("base", f"{file.base.id} (confidence {file.base.confidence:.2f})"))
    rows += [("", f"· {sentence}") for sentence in file.base.evidence]
    if file.unmatched:
        rows.append(("unmatched", f"{len(file.unmatched)} keys, such as {', '.join(file.unmatched[:3])}"))
    rows += [("trained", text) for text in _told(file.metadata)]
    if file.sha256:
        rows.append(("sha256", file.sha256))
    return rows


def _told(metadata: Mapping[str, str]) -> list[str]:
    return [f"{name} = {' '.join(metadata[name].split())[:160]}" for name in _TOLD if metadata.get(name)]


def _span(values: list[Any]) -> str:
    """A few values, or the range of many."""
    if len(values) > 4:
        return f"{values[0]:g} to {values[-1]:g}"
    return ", ".join(f"{value:g}" for value in values)
