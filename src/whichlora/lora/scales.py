"""Find the strength of every module: alpha in the file, in its header's PEFT record, or in adapter_config.json.

What B·A is multiplied by is alpha / rank, alpha / √rank for rank-stabilised LoRAs, or 1 when nothing states an alpha.
Two sources that disagree are a problem and never averaged. Patterns of a PEFT record are compared as literal path
endings; a pattern that needs a regular-expression engine is refused, since the file could be hostile.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whichlora.lora.header import printable

HEADER_RECORD = "lora_adapter_metadata"
SIDECAR = "adapter_config.json"
_MAX_SIDECAR_BYTES = 1024 * 1024
_LITERAL = re.compile(r"\^?[\w.\-]+")
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "eva-residual", "lora_ga")


@dataclass(frozen=True, slots=True)
class PeftRecord:
    """The part of a PEFT configuration that decides the strength."""

    source: str
    """Where it stood."""
    kind: str = "LORA"
    """PEFT's name of the method."""
    rank: int | None = None
    """Common rank."""
    alpha: float | None = None
    """Common alpha."""
    stabilised: bool = False
    """Whether alpha is divided by √rank."""
    dora: bool = False
    """Whether magnitudes are expected."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """Alpha by path ending."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Rank by path ending."""
    problem: str = ""
    """Why it cannot be honoured, or ''."""


def read_record(metadata: Mapping[str, str], path: Path | None, layout: str) -> PeftRecord | None:
    """Find the PEFT record of a file: in its header, else beside it.

    A sidecar is honoured for raw PEFT saves only; in a folder of many LoRAs it may belong to another file.

    Args:
        metadata: The header's own metadata.
        path: Local file, or None for a remote header.
        layout: Name of the recognised layout.
    """
    text = metadata.get(HEADER_RECORD)
    if text:
        return parse_record(text, "lora_adapter_metadata in the header")
    if path is None or not (layout == "peft" or path.name.startswith("adapter_model")):
        return None
    sidecar = path.parent / SIDECAR
    if not sidecar.is_file():
        return None
    if sidecar.stat().st_size > _MAX_SIDECAR_BYTES:
        return PeftRecord(SIDECAR, problem=f"{SIDECAR} beside it is larger than 1 MB.")
    try:
        return parse_record(sidecar.read_text(encoding="utf-8"), SIDECAR)
    except (OSError, UnicodeDecodeError):
        return PeftRecord(SIDECAR, problem=f"{SIDECAR} beside it cannot be read as text.")


def parse_record(text: str, source: str) -> PeftRecord:
    """Read a PEFT configuration; anything odd becomes its `problem`."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return PeftRecord(source, problem=f"{source} is not valid JSON.")
    if not isinstance(values, dict):
        return PeftRecord(source, problem=f"{source} is not a JSON object.")
    # diffusers puts the component's name before every setting.
    prefix = "transformer."
    if any(key.startswith(prefix) for key in values):
        values = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    init = values.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(_CHANGES_BASE):
        return PeftRecord(source, problem=(
            f"{source} says init_lora_weights={printable(init, 30)!r}: such a LoRA belongs to a changed base, not to "
            "the published one."
        ))
    alpha, rank = values.get("lora_alpha", values.get("alpha")), values.get("r")
    alphas, ranks = values.get("alpha_pattern") or {}, values.get("rank_pattern") or {}
    for name, value in (("alpha", alpha), ("r", rank)):
        if value is not None and not _number(value):
            return PeftRecord(source, problem=f"{source} gives {name} as {printable(str(value), 40)}, not as a number.")
    for table in (alphas, ranks):
        if not isinstance(table, dict) or not all(_number(value) for value in table.values()):
            return PeftRecord(source, problem=f"{source} holds a pattern table that is not one of numbers.")
        for pattern in table:
            if not _LITERAL.fullmatch(pattern):
                return PeftRecord(source, problem=(
                    f"{source} uses the pattern '{printable(pattern, 60)}'; only plain module names are understood."
                ))
    return PeftRecord(
        source, str(values.get("peft_type") or "LORA").upper().removeprefix("PEFTTYPE."),
        None if rank is None else int(rank), None if alpha is None else float(alpha),
        values.get("use_rslora") is True, values.get("use_dora") is True,
        {key: float(value) for key, value in alphas.items()}, {key: int(value) for key, value in ranks.items()},
    )


@dataclass(frozen=True, slots=True)
class Strength:
    """Alpha and scale of one module."""

    alpha: float | None
    """Alpha as stated, or None."""
    scale: float
    """Factor of the change."""
    problem: str = ""
    """Why the scale cannot be trusted, or ''."""


def strength(
    module: str, rank: int, alpha_in_file: float | None, record: PeftRecord | None,
) -> Strength:
    """Work out one module's scale.

    Args:
        module: Canonical module path.
        rank: Its inner dimension; 0 where it has none, as in a Kronecker module of two whole factors, for which
            LyCORIS ignores alpha.
        alpha_in_file: Value of its alpha tensor, or None.
        record: PEFT's record, or None.

    Returns:
        The strength; on a contradiction with the reason in `problem`.
    """
    if alpha_in_file is not None and not math.isfinite(alpha_in_file):
        return Strength(None, 1.0, f"The alpha of '{module}' is {alpha_in_file}, which is not a finite number.")
    if alpha_in_file is not None and alpha_in_file < 0:
        return Strength(alpha_in_file, 1.0, f"The alpha of '{module}' is negative ({alpha_in_file:g}).")
    stated = None if alpha_in_file is None else _scale(alpha_in_file, rank, False)
    if record is None or record.alpha is None:
        return Strength(alpha_in_file, 1.0 if stated is None else stated)
    expected = _pattern(record.ranks, module, record.rank)
    if expected is not None and rank and expected != rank:
        return Strength(record.alpha, 1.0, (
            f"{record.source} says rank {expected} for '{module}', but its matrices have rank {rank}."
        ))
    alpha = _pattern(record.alphas, module, record.alpha)
    if alpha is None or not math.isfinite(alpha) or alpha < 0:
        return Strength(alpha, 1.0, f"{record.source} gives '{module}' the alpha {alpha}, which makes no sense.")
    recorded = _scale(alpha, rank or (expected or 0), record.stabilised)
    if stated is not None and not math.isclose(stated, recorded, rel_tol=1e-3):
        return Strength(alpha, 1.0, (
            f"Its strength is stated twice and differs: the alpha tensor of '{module}' gives {stated:g}, "
            f"{record.source} gives {recorded:g}."
        ))
    return Strength(alpha, recorded)


def _scale(alpha: float, rank: int, stabilised: bool) -> float:
    if not rank:
        return 1.0
    return alpha / math.sqrt(rank) if stabilised else alpha / rank


def _pattern(table: Mapping[str, Any], module: str, default: Any) -> Any:
    """First entry whose name is the module or its ending at a dot, as PEFT matches; else the default."""
    for name, value in table.items():
        anchored, name = name.startswith("^"), name.removeprefix("^")
        if module == name or (not anchored and module.endswith("." + name)):
            return value
    return default


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
