"""`whichlora merge A.safetensors B.safetensors --method ties --out FILE`: several LoRAs as one file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.errors import RefusedError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whichlora.lora.keys import ModelShape
    from whichlora.lora.merge import Recipe
    from whichlora.types import AdapterUse


@guarded
def command(
    files: Annotated[list[Path], typer.Argument(help="Two or more LoRA files (.safetensors).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the merged LoRA goes.")],
    method: Annotated[
        str, typer.Option("--method", help="linear, cat, svd, ties, dare_linear, dare_ties, magnitude_prune, or one of "
                                           "the last four with _svd.")
    ] = "cat",
    weights: Annotated[str, typer.Option("--weights", help="One per file, such as 1,0.8; all 1 when left out.")] = "",
    density: Annotated[
        float | None, typer.Option("--density", help="Share of the numbers that pruning methods keep; 0.5.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the dare methods; 0.", min=0)] = None,
    rank: Annotated[int | None, typer.Option("--rank", help="Rank of _svd methods; the largest of the parts.")] = None,
    sign: Annotated[
        str | None, typer.Option("--sign", help="How ties elects a sign: total or frequency; total.")
    ] = None,
    number_format: Annotated[str, typer.Option("--format", help="float32, bfloat16 or float16.")] = "float32",
    model: Annotated[
        Path | None, typer.Option("--model", help="Folder of the model (with transformer/config.json) it must fit.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Merge LoRAs into one file that diffusers and ComfyUI load, with the recipe in its header."""
    from whichlora.lora.inspect import sha256_of
    from whichlora.lora.keys import ModelShape
    from whichlora.lora.merged import merge_files

    recipe = _recipe(method, {"density": density, "seed": seed, "rank": rank, "sign": sign})
    uses = named_uses(files, weights)
    if out.suffix != ".safetensors":
        raise UserError(f"'{out}' does not end in .safetensors.", fix="Name the result so: --out merged.safetensors")
    if out.resolve() in {path.resolve() for path in files}:
        raise UserError(f"'{out}' is one of the parts.", fix="Choose another name with --out.")
    if out.exists() and not force:
        raise UserError(f"'{out}' is there already.", fix="Choose another name, or add --force.")
    shape = ModelShape.from_folder(model) if model is not None else None
    _check(uses, shape)
    with progress_console.status("merging"):
        report = merge_files(uses, recipe, out, shape=shape, number_format=number_format)
    _check([use_of(out, sha256_of(out))], shape)
    if json:
        emit_json("whichlora.merge/1", {
            **{name: str(value) if isinstance(value, Path) else value for name, value in asdict(report).items()},
            "recipe": recipe.text, "parts": [asdict(use) for use in uses],
        })
        return
    answer_console.print(f"{report.path}: {report.modules} modules of rank {report.rank}, {report.size_bytes:,} bytes; "
                         f"{report.shared} of them are adapted by more than one part.", markup=False)
    answer_console.print(f"By its method ({recipe.text}) it differs from stacking the parts by "
                         f"{_percent(report.error)} of their size. Compare it by its pictures: name it in a suite.",
                         markup=False)
    if len(report.bases) > 1:
        answer_console.print(f"! The parts were made for different bases: {', '.join(report.bases)}.", markup=False)


def _recipe(method: str, given: Mapping[str, Any]) -> Recipe:
    """The recipe; a setting that the method would ignore is refused, since who gives it expects an effect.

    Raises:
        UserError: A setting is out of range, unknown, or without effect on this method.
    """
    from whichlora.lora.merge import DEFAULT_DENSITY, METHODS, Recipe, settings_of

    sign = given["sign"]
    if sign not in (None, "total", "frequency"):
        raise UserError(f"--sign '{sign}' is unknown.", fix="Use total or frequency.")
    density = DEFAULT_DENSITY if given["density"] is None else given["density"]
    recipe = Recipe(method, density, given["seed"] or 0, given["rank"], sign or "total")
    idle = next((name for name, value in given.items() if value is not None and name not in settings_of(method)), None)
    if idle is not None:
        heeding = ", ".join(name for name in METHODS if idle in settings_of(name))
        raise UserError(f"--{idle} has no effect on '{method}'.", fix=f"Leave it out, or use one of: {heeding}.")
    return recipe


def _percent(share: float) -> str:
    """Two significant digits without an exponent: '0 %', '0.031 %', '4.6 %', '250 %'."""
    value = 100 * share
    return f"{value:.0f}%" if value >= 10 else f"{value:.2g}%" if value >= 1e-3 else "0%"


def named_uses(files: list[Path], weights: str) -> list[AdapterUse]:
    """Adapters from files and a list of weights.

    Raises:
        UserError: Too few files, a file is missing or named twice, or the weights do not fit.
    """
    from whichlora.lora.inspect import sha256_of
    from whichlora.lora.merge import MAX_WEIGHT

    if len(files) < 2:
        raise UserError("A merge needs at least two LoRA files.", fix="whichlora merge A.safetensors B.safetensors …")
    try:
        numbers = [float(item) for item in weights.split(",")] if weights else [1.0] * len(files)
    except ValueError as error:
        raise UserError(f"--weights '{weights}' is no list of numbers.", fix="Write: --weights 1,0.8") from error
    if len(numbers) != len(files):
        raise UserError(f"{len(files)} files, but {len(numbers)} weights.", fix="Give one weight per file.")
    outside = next((value for value in numbers if not abs(value) <= MAX_WEIGHT), None)
    if outside is not None:
        raise UserError(f"The weight {outside:g} is out of range.", fix=f"Use −{MAX_WEIGHT:g} to {MAX_WEIGHT:g}.")
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        raise UserError(f"There is no file '{missing}'.", fix="Check the path; a merge takes files on this disk.")
    uses = [use_of(path, sha256_of(path), value) for path, value in zip(files, numbers, strict=True)]
    if len({use.sha256 for use in uses}) < len(uses):
        raise UserError("The same file is named twice.", fix="Give it one weight instead.")
    return uses


def use_of(path: Path, sha256: str, weight: float = 1.0) -> AdapterUse:
    """An adapter of a file."""
    from whichlora.types import AdapterUse

    return AdapterUse(path.stem, str(path), sha256, weight)


def _check(uses: list[AdapterUse], shape: ModelShape | None) -> None:
    """Every file passes the static gate before it is used, and the result before it is praised."""
    from whichlora.lora.static import check_static

    for use in uses:
        try:
            check_static(None, use.path, shape)
        except RefusedError as error:
            raise RefusedError(f"{Path(use.path).name}: {error.reason}", fix=error.fix) from error
