"""Where two LoRAs meet in weight space: shared modules, direction, and conflict of signs.

An explanation of what a stack or merge does, not a verdict about it: LoRAs that share every module can work together,
and LoRAs that share none can disturb each other through the picture. Reads factors only; builds at most a few rows of a
change at a time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError
from whichlora.lora.delta import CanonicalLora, CanonicalModule, load_canonical
from whichlora.lora.keys import ModelShape, suffix

ROWS = 256
"""Rows of a change that are compared sign by sign; larger changes are sampled evenly."""
UNRELATED_CONFLICT = 0.5
"""Conflict of signs that two unrelated LoRAs show."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModuleOverlap:
    """How two changes of one module lie to each other."""

    name: str
    """Module path, or a kind of layer such as 'attn.to_q' in a summary."""
    modules: int
    """Modules behind it."""
    cosine: float
    """⟨ΔA, ΔB⟩ / ‖ΔA‖‖ΔB‖, −1 to 1: 0 for unrelated directions."""
    conflict: float
    """Share of the common size (Σ min(|a|, |b|)) where signs differ, 0 to 1; about 0.5 for unrelated LoRAs."""
    share_first: float
    """Share of the first LoRA's whole size (‖·‖²) that lies here, 0 to 1."""
    share_second: float
    """The same of the second."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two LoRAs compared."""

    first: str
    """Name."""
    second: str
    """Name."""
    shared: tuple[ModuleOverlap, ...]
    """Modules that both change, in the model's order."""
    only_first: int
    """Modules that only the first changes."""
    only_second: int
    """Modules that only the second changes."""
    cosine: float | None
    """Over everything, modules that only one changes included; None without a shared module."""
    conflict: float | None
    """Over all shared modules; None without one."""

    def by_kind(self) -> tuple[ModuleOverlap, ...]:
        """Shared modules summed by kind of layer, the largest shares first."""
        groups: dict[str, list[ModuleOverlap]] = defaultdict(list)
        for module in self.shared:
            groups[suffix(module.name)].append(module)
        rows = [
            ModuleOverlap(
                kind, len(found), float(np.average([m.cosine for m in found], weights=_weights(found))),
                float(np.average([m.conflict for m in found], weights=_weights(found))),
                sum(m.share_first for m in found), sum(m.share_second for m in found),
            )
            for kind, found in groups.items()
        ]
        return tuple(sorted(rows, key=lambda row: (-(row.share_first + row.share_second), row.name)))


def overlap(first: Path, second: Path, shape: ModelShape | None = None) -> Overlap:
    """Compare two LoRA files.

    Raises:
        UserError: A file is not there.
        RefusedError: One cannot be applied, or is a DoRA, whose change hangs on the base's weights.
    """
    with load_canonical(first, shape) as one, load_canonical(second, shape) as other:
        return _compare(one, other)


def _compare(one: CanonicalLora, other: CanonicalLora) -> Overlap:
    sizes: list[dict[tuple[str, str], float]] = []
    for lora in (one, other):
        for module in lora:
            if module.needs_weight:
                raise RefusedError(f"'{lora.path.name}' is a DoRA: its change hangs on the base's weights, so there is "
                                   "nothing to compare without them.")
        sizes.append({(m.name, m.parameter): max(0.0, _inner(m, m)) for m in lora})
    totals = [sum(size.values()) for size in sizes]
    shared: list[ModuleOverlap] = []
    inner_sum, common_sum, conflict_sum = 0.0, 0.0, 0.0
    for module in one:
        partner = other.get(module.name, module.parameter)
        if partner is None or partner.shape != module.shape:
            continue
        key = (module.name, module.parameter)
        inner = _inner(module, partner)
        length = float(np.sqrt(sizes[0][key] * sizes[1][key]))
        common, against = _signs(module, partner)
        shared.append(ModuleOverlap(
            module.name if module.parameter == "weight" else f"{module.name}.{module.parameter}", 1,
            inner / length if length > 0 else 0.0, against / common if common > 0 else 0.0,
            sizes[0][key] / totals[0] if totals[0] else 0.0, sizes[1][key] / totals[1] if totals[1] else 0.0,
        ))
        inner_sum, common_sum, conflict_sum = inner_sum + inner, common_sum + common, conflict_sum + against
    whole = float(np.sqrt(totals[0] * totals[1]))
    return Overlap(
        one.path.name, other.path.name, tuple(shared), len(one) - len(shared), len(other) - len(shared),
        inner_sum / whole if shared and whole > 0 else None, conflict_sum / common_sum if common_sum > 0 else None,
    )


def _weights(found: list[ModuleOverlap]) -> list[float]:
    """Weight of every module in a summary: the geometric mean of its shares."""
    weights = [float(np.sqrt(m.share_first * m.share_second)) for m in found]
    return weights if sum(weights) > 0 else [1.0] * len(found)


def _inner(one: CanonicalModule, other: CanonicalModule) -> float:
    """⟨ΔA, ΔB⟩; of two plain LoRAs through matrices as small as the ranks."""
    a, b = one.factors(), other.factors()
    if a is None or b is None:
        return float(np.vdot(one.delta().astype(np.float64), other.delta().astype(np.float64)))
    left = a[0].astype(np.float64).T @ b[0].astype(np.float64)
    right = a[1].astype(np.float64) @ b[1].astype(np.float64).T
    return a[2] * b[2] * float(np.sum(left * right))


def _signs(one: CanonicalModule, other: CanonicalModule) -> tuple[float, float]:
    """(Σ min(|a|, |b|), the part of it where signs differ), over rows sampled evenly."""
    rows = np.unique(np.linspace(0, one.shape[0] - 1, min(ROWS, one.shape[0])).round().astype(int))
    a, b = _rows(one, rows), _rows(other, rows)
    common = np.minimum(np.abs(a), np.abs(b))
    return float(common.sum()), float(common[np.signbit(a) != np.signbit(b)].sum())


def _rows(module: CanonicalModule, rows: NDArray[np.integer]) -> Floats:
    factors = module.factors()
    if factors is None:
        return module.delta().astype(np.float64)[rows]
    up, down, scale = factors
    return scale * (up[rows].astype(np.float64) @ down.astype(np.float64))
