"""Merged LoRA files: opened from parts, written as safetensors that diffusers and ComfyUI load, recipe in the header.

The keys are 'transformer.<module>.lora_A.weight' and '….lora_B.weight', one rank throughout (smaller ones padded with
zeros) and no alpha, so that no library has a strength to guess. Modules are computed and written one after another: the
20 B model's merges never lie in memory whole. The methods themselves are in `merge.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import MachineError, RefusedError, UserError
from whichlora.lora.delta import CanonicalLora, CanonicalModule, load_canonical
from whichlora.lora.header import printable, read_header
from whichlora.lora.inspect import inspect_lora, sha256_of
from whichlora.lora.keys import ModelShape
from whichlora.lora.merge import CHANGE_METHODS, VERSION, Part, Recipe, merge_module
from whichlora.lora.tally import Tally
from whichlora.types import AdapterUse, fingerprint

RECIPE_KEY = "whichlora.merge"
"""Entry of the header's metadata that holds the recipe as JSON."""
FORMATS = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}
"""Number formats of a merged file: safetensors' name and bytes of a number."""


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge wrote."""

    path: Path
    """The file."""
    sha256: str
    """Of the whole file."""
    modules: int
    """Modules that it adapts."""
    shared: int
    """Modules that more than one part adapts; with none, the parts do not meet anywhere."""
    rank: int
    """Rank of every module."""
    size_bytes: int
    """Size of the file."""
    error: float
    """‖written − Σ weight · ΔW‖ / ‖Σ weight · ΔW‖ over all modules: what the method changes against stacking the parts
    (0 for 'cat' but for the rounding of the format)."""
    bases: tuple[str, ...] = ()
    """Bases that the parts were made for, as far as their files tell; several are a reason to look twice."""


def recipe_id(uses: Sequence[AdapterUse], recipe: Recipe) -> str:
    """Identity of a merge: contents and weights of the parts, in order, and how they are combined."""
    return fingerprint([VERSION, recipe.text, [[use.sha256, use.weight] for use in uses]])


def merged_use(
    uses: Sequence[AdapterUse], recipe: Recipe, folder: Path, shape: ModelShape | None = None
) -> AdapterUse:
    """The merged LoRA of some parts, computed once and kept in a folder under its recipe's identity.

    Args:
        uses: Two or more LoRAs with their weights; their hashes are checked.
        recipe: The method.
        folder: Where merged files are kept.
        shape: Sizes of the model; inferred from the files when None.

    Raises:
        RefusedError: A part cannot be merged by this method, is missing or was replaced.
        MachineError: The disk failed.
    """
    name = recipe_id(uses, recipe)
    path = folder / f"{name}.safetensors"
    if not _is_ours(path, name):
        merge_files(uses, recipe, path, shape=shape)
    return AdapterUse(f"{recipe.method} of " + " + ".join(use.name for use in uses), str(path), sha256_of(path))


def merge_files(
    uses: Sequence[AdapterUse], recipe: Recipe, path: Path, *, shape: ModelShape | None = None,
    number_format: str = "float32", watch: Callable[[int, int], None] = lambda *_: None,
) -> MergeReport:
    """Merge LoRA files and write the result whole or not at all.

    Args:
        uses: Two or more LoRAs with their weights; a given hash must be the file's.
        recipe: The method.
        path: Where to.
        shape: Sizes of the model; inferred from the files when None.
        number_format: 'float32', 'float16' or 'bfloat16'.
        watch: Called with (modules done, modules in all).

    Raises:
        UserError: Too few parts, or an unknown number format.
        RefusedError: A part cannot be merged by this method, is missing or was replaced, or nothing is left.
        MachineError: The disk failed.
    """
    if len(uses) < 2:
        raise UserError("A merge needs at least two LoRAs.", fix="Name two or more files.")
    if number_format not in FORMATS:
        raise UserError(f"The number format '{number_format}' is unknown.", fix=f"Use {', '.join(FORMATS)}.")
    with ExitStack() as files:
        opened = [files.enter_context(_open(use, shape)) for use in uses]
        plan = _Plan(uses, opened, recipe)
        bases = tuple(sorted({inspect_lora(lora.path).base.id for lora in opened}))
        header = _header(plan, number_format, _metadata(uses, recipe, bases))
        tally = Tally()
        blocks = _blocks(plan, number_format, tally, watch)
        digest, size = _write(path, header, blocks, tally)
    known = tuple(base for base in bases if base != "unknown")
    return MergeReport(path, digest, len(plan.modules), plan.shared, plan.rank, size, tally.error, known)


def read_recipe(path: Path) -> dict[str, Any] | None:
    """The recipe that a merged file carries, or None for any other file.

    Raises:
        UserError: There is no such file.
        RefusedError: It is no sound safetensors file.
    """
    text = read_header(path).metadata.get(RECIPE_KEY)
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class _Plan:
    """Which modules the merge has, who adapts them, and the rank of the result."""

    def __init__(self, uses: Sequence[AdapterUse], opened: Sequence[CanonicalLora], recipe: Recipe) -> None:
        self.uses, self.recipe = uses, recipe
        self.modules: dict[str, list[tuple[int, CanonicalModule]]] = {}
        for index, lora in enumerate(opened):
            for module in lora:
                _refuse_unfit(module, uses[index], recipe)
                if uses[index].weight:
                    self.modules.setdefault(module.name, []).append((index, module))
        if not self.modules:
            raise RefusedError("Every weight is 0: the merge would change nothing.")
        shapes = {name: {module.shape for _, module in found} for name, found in self.modules.items()}
        odd = next((name for name, found in shapes.items() if len(found) > 1), None)
        if odd is not None:
            raise RefusedError(f"The LoRAs are made for models of other sizes: '{odd}' has "
                               f"{' and '.join(str(list(size)) for size in sorted(shapes[odd]))}.")
        self.shared = sum(len(found) > 1 for found in self.modules.values())
        ranks = [[_rank(module) for _, module in found] for found in self.modules.values()]
        self.cut = recipe.rank or max(max(row) for row in ranks)
        self.rank = max(sum(row) if recipe.method == "cat" else max(row) for row in ranks)
        if recipe.method in CHANGE_METHODS:
            self.rank = min(self.cut, max(min(found[0][1].shape) for found in self.modules.values()))

    def parts(self, name: str) -> list[Part]:
        """Changes of one module, read from the files."""
        found: list[Part] = []
        for index, module in self.modules[name]:
            factors = module.factors()
            weight = self.uses[index].weight
            if factors is None:
                found.append(Part(weight, index, None, None, change=module.delta().astype(np.float64)))
            else:
                up, down, scale = factors
                found.append(Part(weight, index, up.astype(np.float64), down.astype(np.float64), scale))
        return found


def _rank(module: CanonicalModule) -> int:
    return module.rank or min(module.shape)


def _refuse_unfit(module: CanonicalModule, use: AdapterUse, recipe: Recipe) -> None:
    """Refuse what cannot be written as a plain LoRA without becoming another one."""
    who = f"'{printable(use.name, 80)}' cannot be merged"
    if module.kind == "dora":
        raise RefusedError(f"{who}: it is a DoRA, whose change hangs on the base's weights.",
                           fix="Stack it instead ('combine: stack').")
    if module.parameter != "weight" or len(module.shape) != 2:
        raise RefusedError(f"{who}: it changes '{module.name}.{module.parameter}', which is no matrix.",
                           fix="Stack it instead ('combine: stack').")
    if module.kind != "lora" and recipe.method not in CHANGE_METHODS:
        raise RefusedError(f"{who} by '{recipe.method}': its {module.kind} modules have no low-rank factors.",
                           fix=f"Use one of: {', '.join(CHANGE_METHODS)}.")


def _open(use: AdapterUse, shape: ModelShape | None) -> CanonicalLora:
    path = Path(use.path)
    if not path.is_file():
        raise RefusedError(f"The LoRA '{printable(use.name, 80)}' is no longer at '{path}'.",
                           fix="Put it back, or plan again.")
    if use.sha256 and sha256_of(path) != use.sha256:
        raise RefusedError(f"'{path}' is not the file that was planned as '{printable(use.name, 80)}' (its SHA-256 "
                           "differs).")
    return load_canonical(path, shape)


# ------------------------------------------------------------------------ writing


def _metadata(uses: Sequence[AdapterUse], recipe: Recipe, bases: Sequence[str]) -> dict[str, str]:
    """Header metadata: the recipe, and the base where all parts agree on one."""
    settings = {"density": recipe.density, "seed": recipe.seed, "rank": recipe.rank, "sign": recipe.sign}
    used = {name: value for name, value in settings.items() if f"{name}=" in recipe.text}
    document = {
        "schema": "whichlora.merge/1", "id": recipe_id(uses, recipe), "method": recipe.method, "version": VERSION,
        **used,
        "parts": [{"name": use.name, "sha256": use.sha256, "weight": use.weight} for use in uses],
    }
    found = {RECIPE_KEY: json.dumps(document, ensure_ascii=False, sort_keys=True), "format": "pt"}
    if len(bases) == 1 and bases[0] != "unknown":
        found["modelspec.architecture"] = f"{bases[0].rpartition('/')[2]}/lora"
    return found


def _header(plan: _Plan, number_format: str, metadata: dict[str, str]) -> bytes:
    """The file's first bytes: length and JSON, padded to a multiple of 8."""
    dtype, item = FORMATS[number_format]
    document: dict[str, Any] = {"__metadata__": metadata}
    place = 0
    for name, found in plan.modules.items():
        rows, columns = found[0][1].shape
        for key, shape in ((f"transformer.{name}.lora_A.weight", (plan.rank, columns)),
                           (f"transformer.{name}.lora_B.weight", (rows, plan.rank))):
            end = place + shape[0] * shape[1] * item
            document[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, end]}
            place = end
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _blocks(
    plan: _Plan, number_format: str, tally: Tally, watch: Callable[[int, int], None]
) -> Iterator[bytes]:
    """Tensors in the header's order."""
    for done, name in enumerate(plan.modules, start=1):
        parts = plan.parts(name)
        up, down = merge_module(name, parts, plan.recipe, plan.cut)
        up = np.pad(up, ((0, 0), (0, plan.rank - up.shape[1])))
        down = np.pad(down, ((0, plan.rank - down.shape[0]), (0, 0)))
        if not (np.all(np.isfinite(up)) and np.all(np.isfinite(down))):
            raise RefusedError(f"The merge of '{name}' is not finite.", fix="Look at the parts: whichlora inspect FILE")
        first, second = encode(down, number_format), encode(up, number_format)
        tally.add(parts, *(_decoded(raw, number_format, shape)
                           for raw, shape in ((second, up.shape), (first, down.shape))))
        yield first
        yield second
        watch(done, len(plan.modules))


def encode(values: NDArray[np.float64], number_format: str) -> bytes:
    """Numbers as little-endian bytes of a format, rounded to nearest, ties to even.

    Raises:
        RefusedError: A number is too large for the format.
    """
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, "<f4")
        if number_format == "float32":
            raw: NDArray[Any] = single
        elif number_format == "float16":
            raw = single.astype("<f2")
        else:
            bits = single.view("<u4").astype(np.uint64)
            raw = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    finite = np.isfinite(raw) if number_format != "bfloat16" else (raw & 0x7F80) != 0x7F80
    if not bool(np.all(finite)):
        raise RefusedError(f"A merged value does not fit {number_format}.", fix="Write float32.")
    return raw.tobytes()


def _decoded(raw: bytes, number_format: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if number_format == "bfloat16":
        wide = np.frombuffer(raw, "<u2").astype("<u4") << 16
        return wide.view("<f4").astype(np.float64).reshape(shape)
    return np.frombuffer(raw, "<f4" if number_format == "float32" else "<f2").astype(np.float64).reshape(shape)


def _write(path: Path, header: bytes, blocks: Iterator[bytes], tally: Tally) -> tuple[str, int]:
    """Write beside the target, flush, rename; returns SHA-256 and size. A merge without any effect is refused."""
    digest, size = hashlib.sha256(), 0
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            for piece in _pieces(header, blocks):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
            _flush(file)
        tally.require_effect()
        temporary.replace(path)
    except OSError as error:
        raise MachineError(f"'{path}' could not be written: {error.strerror or error}.",
                           fix="Free some space, or choose another place with --out.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest(), size


def _pieces(header: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield header
    yield from blocks


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _is_ours(path: Path, name: str) -> bool:
    """Whether a kept file is whole and was made by the recipe of that identity."""
    if not path.is_file():
        return False
    try:
        recipe = read_recipe(path)
    except (RefusedError, UserError):
        return False
    return recipe is not None and recipe.get("id") == name
