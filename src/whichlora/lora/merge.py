"""Several LoRAs made one, module by module: every combination method of the PEFT library, in numpy.

Works on factors (ΔW = up · down) in float64. Does not read or write files (`merged.py`) and needs no torch.

Two kinds of method. Those without '_svd' combine all `up` and all `down` matrices separately, as PEFT does: cheap, but
for 'linear' (Σ√w·up)(Σ√w·down) has cross terms that Σ w·up·down has not. 'cat' and 'svd' combine the changes
themselves; 'cat' is exact. Formulas: PEFT, `tuners/lora/model.py` and `utils/merge_utils.py`; TIES (Yadav et al. 2023),
DARE (Yu et al. 2024). Beyond PEFT, ranks may differ: smaller factors count as padded with zeros.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import UnknownNameError, UserError

VERSION = 1
"""Raised when the same recipe could give another file."""

FACTOR_METHODS = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
"""Methods that combine up and down matrices separately."""
CHANGE_METHODS = ("svd", "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd")
"""Methods that combine whole changes and cut the result back to a rank."""
METHODS = (*FACTOR_METHODS, "cat", *CHANGE_METHODS)
"""Every method."""
PRUNING = tuple(name for name in METHODS if name.startswith(("ties", "dare", "magnitude")))
"""Methods that leave a share of the numbers out, and so need a density."""
DEFAULT_DENSITY = 0.5
MAX_WEIGHT = 4.0
_WHOLE_SVD = 512
"""Changes with a side up to this are decomposed whole; larger ones by Lanczos iteration for the leading part only."""

Float64 = NDArray[np.float64]
Sign = Literal["total", "frequency"]
_TEXT = re.compile(r"(?P<method>[a-z_]+)/(?P<version>\d+)(?P<rest>(;[a-z]+=[\w.+-]+)*)")


def settings_of(method: str) -> tuple[str, ...]:
    """Settings that a method heeds, out of 'density', 'seed', 'rank' and 'sign'."""
    return tuple(name for name, heeded in (
        ("density", method in PRUNING), ("seed", method.startswith("dare")), ("rank", method in CHANGE_METHODS),
        ("sign", "ties" in method),
    ) if heeded)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How LoRAs are merged; the parts and their weights stand elsewhere."""

    method: str
    """One of `METHODS`."""
    density: float = DEFAULT_DENSITY
    """Share of the numbers that is kept, over 0 up to 1; ignored by methods that prune nothing."""
    seed: int = 0
    """Seed of the 'dare' methods' draws."""
    rank: int | None = None
    """Rank of the result of '_svd' methods; None for the largest of the parts."""
    sign: Sign = "total"
    """How 'ties' elects a sign: by summed size, or by count."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownNameError("merge method", self.method, METHODS)
        if not 0.0 < self.density <= 1.0:
            raise UserError(f"The density {self.density:g} is out of range.", fix="Use a number over 0 and up to 1.")
        if self.rank is not None and not 1 <= self.rank <= 1024:
            raise UserError(f"The rank {self.rank} is out of range.", fix="Use 1 to 1024, or leave it out.")
        if self.sign not in ("total", "frequency"):
            raise UserError(f"The sign election '{self.sign}' is unknown.", fix="Use 'total' or 'frequency'.")

    @property
    def text(self) -> str:
        """The recipe in one canonical line, such as 'ties/1;density=0.5': equal exactly when the recipes do the same.

        It is a candidate's `combine`, and so a part of the identity of its pictures.
        """
        heeded = settings_of(self.method)
        parts = [f"{self.method}/{VERSION}"]
        if "density" in heeded:
            parts.append(f"density={self.density:g}")
        if "seed" in heeded:
            parts.append(f"seed={self.seed}")
        if "rank" in heeded and self.rank is not None:
            parts.append(f"rank={self.rank}")
        if "sign" in heeded and self.sign != "total":
            parts.append(f"sign={self.sign}")
        return ";".join(parts)

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read what `text` wrote.

        Raises:
            UserError: It is no recipe, or one of another version.
        """
        match = _TEXT.fullmatch(text)
        if match is None or int(match["version"]) != VERSION:
            raise UserError(f"'{text[:80]}' is no merge recipe that this version can repeat.",
                            fix=f"Methods: {', '.join(METHODS)}.")
        given = dict(item.split("=", 1) for item in match["rest"].split(";") if item)
        unknown = sorted(set(given) - {"density", "seed", "rank", "sign"})
        if unknown:
            raise UserError(f"The merge recipe '{text[:80]}' has an unknown setting '{unknown[0]}'.")
        sign: Sign = "frequency" if given.get("sign") == "frequency" else "total"
        return cls(match["method"], float(given.get("density", DEFAULT_DENSITY)), int(given.get("seed", 0)),
                   int(given["rank"]) if "rank" in given else None, sign)


@dataclass(frozen=True, slots=True)
class Part:
    """One LoRA's change of one module."""

    weight: float
    """Adapter weight."""
    index: int
    """Place of the LoRA among all that are merged, for the draws of 'dare'."""
    up: Float64 | None
    """(out, rank), or None when only the whole change is known."""
    down: Float64 | None
    """(rank, in), or None."""
    scale: float = 1.0
    """Factor of up · down."""
    change: Float64 | None = None
    """(out, in), scale included, where there are no factors."""

    def delta(self) -> Float64:
        """The whole change at weight 1."""
        if self.up is None or self.down is None:
            assert self.change is not None
            return self.change
        return self.scale * (self.up @ self.down)

    @property
    def rank(self) -> int:
        """Inner dimension; the smaller side where there are no factors."""
        if self.up is not None:
            return int(self.up.shape[1])
        assert self.change is not None
        return min(self.change.shape)


def merge_module(name: str, parts: Sequence[Part], recipe: Recipe, rank: int) -> tuple[Float64, Float64]:
    """Merge what several LoRAs do to one module.

    Args:
        name: Module path; seeds the draws of 'dare', so that they do not hang on the order of modules.
        parts: Changes of this module; LoRAs that leave it alone are absent.
        recipe: The method.
        rank: Rank that '_svd' methods cut the result to.

    Returns:
        up (out, r) and down (r, in) with ΔW = up · down.
    """
    if recipe.method == "cat":
        ups, downs = zip(*(_factors(part) for part in parts), strict=True)
        weights = [part.weight * part.scale for part in parts]
        return np.concatenate(ups, axis=1), np.concatenate(
            [weight * down for weight, down in zip(weights, downs, strict=True)])
    if recipe.method == "svd" and all(part.up is not None for part in parts):
        return _cut_factors(parts, rank)
    if recipe.method in CHANGE_METHODS:
        method = recipe.method.removesuffix("_svd")
        deltas = [part.delta() for part in parts]
        tags = [f"{name}|{part.index}|change" for part in parts]
        merged = combine(deltas, [part.weight for part in parts], "linear" if method == "svd" else method, recipe, tags)
        return cut(merged, rank)
    # As PEFT: the root of weight and scale on either side, the sign on one.
    strengths = [part.weight * part.scale for part in parts]
    roots = [float(np.sqrt(abs(strength))) for strength in strengths]
    signed = [float(np.copysign(root, strength)) for root, strength in zip(roots, strengths, strict=True)]
    ups, downs = zip(*(_factors(part) for part in parts), strict=True)
    up = combine(ups, roots, recipe.method, recipe, [f"{name}|{part.index}|up" for part in parts])
    down = combine(downs, signed, recipe.method, recipe, [f"{name}|{part.index}|down" for part in parts])
    return up, down


def combine(
    arrays: Sequence[Float64], weights: Sequence[float], method: str, recipe: Recipe, tags: Sequence[str]
) -> Float64:
    """Combine arrays element by element: 'linear', 'ties', 'dare_linear', 'dare_ties' or 'magnitude_prune'.

    Args:
        arrays: Two-dimensional; smaller ones count as padded with zeros after pruning.
        weights: One per array.
        method: Name without '_svd'.
        recipe: Density, seed and sign election.
        tags: One per array; with the seed they decide the draws of 'dare'.
    """
    if method != "linear":
        random = method.startswith("dare")
        arrays = [
            drop(array, recipe.density, recipe.seed, tag) if random else keep_largest(array, recipe.density)
            for array, tag in zip(arrays, tags, strict=True)
        ]
    stacked = _stacked(arrays)
    weighted = stacked * np.asarray(weights, np.float64)[:, None, None]
    if not method.endswith("ties"):
        return weighted.sum(axis=0)
    ballot = stacked if recipe.sign == "total" else np.sign(stacked)
    elected = np.where(ballot.sum(axis=0) >= 0, 1.0, -1.0)
    agree = np.sign(stacked) == elected
    return (weighted * agree).sum(axis=0) / np.maximum(agree.sum(axis=0), 1)


def keep_largest(array: Float64, density: float) -> Float64:
    """Zero all but the largest share of an array's numbers by size."""
    if density >= 1:
        return array
    keep = int(density * array.size)
    mask = np.zeros(array.size)
    if keep:
        mask[np.argpartition(np.abs(array).reshape(-1), array.size - keep)[array.size - keep :]] = 1.0
    return array * mask.reshape(array.shape)


def drop(array: Float64, density: float, seed: int, tag: str) -> Float64:
    """Zero numbers at random and make the others larger, so that the expectation stays."""
    if density >= 1:
        return array
    return array * drawn(array.shape, density, seed, tag) / density


def drawn(shape: tuple[int, ...], density: float, seed: int, tag: str) -> Float64:
    """The mask of `drop`: 1 with probability `density`, the same for the same seed and tag on every machine."""
    digest = hashlib.sha256(f"{seed}|{tag}".encode()).digest()
    draw = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    return (draw.random(shape) < density).astype(np.float64)


def cut(change: Float64, rank: int) -> tuple[Float64, Float64]:
    """The best approximation of a change by a rank (Eckart–Young): up with the singular values, and down."""
    rank = min(rank, *change.shape)
    if min(change.shape) <= _WHOLE_SVD or rank >= min(change.shape) // 4:
        left, values, right = np.linalg.svd(change, full_matrices=False)
    else:
        from scipy.sparse.linalg import svds

        found: Any = svds(change, k=rank, v0=np.ones(min(change.shape)))  # smallest first
        left, values, right = found[0][:, ::-1], found[1][::-1], found[2][::-1]
    return left[:, :rank] * values[:rank], right[:rank]


def _cut_factors(parts: Sequence[Part], rank: int) -> tuple[Float64, Float64]:
    """`cut` of Σ weight · up · down without ever building it."""
    ups, downs = zip(*(_factors(part) for part in parts), strict=True)
    up = np.concatenate([part.weight * part.scale * one for part, one in zip(parts, ups, strict=True)], axis=1)
    outer, inner = np.linalg.qr(up)
    other, core = np.linalg.qr(np.concatenate(downs).T)
    left, right = cut(inner @ core.T, rank)
    return outer @ left, right @ other.T


def _factors(part: Part) -> tuple[Float64, Float64]:
    if part.up is None or part.down is None:
        raise ValueError("a method on factors was given a change without factors")
    return part.up, part.down


def _stacked(arrays: Sequence[Float64]) -> Float64:
    """Arrays on top of each other, padded with zeros to the largest."""
    rows, columns = (max(array.shape[axis] for array in arrays) for axis in (0, 1))
    stacked = np.zeros((len(arrays), rows, columns))
    for place, array in enumerate(arrays):
        stacked[place, : array.shape[0], : array.shape[1]] = array
    return stacked
