"""`whichlora doctor [PROJECT]`: is this machine ready, or a project whole? Every ✗ carries its fix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli._checks import print_checks
from whichlora.cli.output import answer_console, emit_json, guarded
from whichlora.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whichlora.machine.checks import Check, Diagnosis
    from whichlora.machine.memory import Fit

_BASES = ("Qwen/Qwen-Image-Edit-2509", "Qwen/Qwen-Image-Edit-2511")


@guarded
def command(
    project: Annotated[
        Path | None, typer.Argument(help="A project folder to check; without one, this machine is checked.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend the project: damaged pictures are forgotten, strays moved aside.")
    ] = False,
    torch: Annotated[bool, typer.Option("--torch", help="Import torch and ask it whether it sees the GPU.")] = False,
    comfyui: Annotated[Path | None, typer.Option("--comfyui", help="ComfyUI's folder, if it is not found.")] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Run the true size with random weights; with a project, price it.")
    ] = False,
    toy: Annotated[bool, typer.Option("--toy", help="With --rehearse: a toy size, to try the machinery.")] = False,
    device: Annotated[str, typer.Option("--device", help="With --rehearse: auto, cuda, mps or cpu.")] = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 when anything is ✗.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Look at Python, GPU, memory, disk, libraries, the Hub and files that are already here.

    With --strict, exit status 1 when anything is ✗; a laptop without a GPU is fine for everything but 'run'.
    With a project: check database, every picture, plan, photographs and disk; exit status 1 when anything is ✗.
    """
    if rehearse:
        from whichlora.cli._rehearse import rehearse as run_rehearsal

        run_rehearsal(project, device=device, toy=toy, json=json)
        return
    if project is not None:
        from whichlora.cli._doctor_project import look

        look(project, repair=repair, json=json)
        return
    if repair:
        raise UserError("--repair needs the project that is to be mended.", fix="whichlora doctor PROJECT --repair")
    from whichlora.machine.checks import diagnose
    from whichlora.machine.probe import probe

    facts = probe(ask_torch=torch)
    diagnosis = diagnose(facts, supported_profiles())
    checks = [*diagnosis.checks, *_files(comfyui), _packs()]
    if json:
        emit_json("whichlora.doctor/1", _document(checks, diagnosis))
    else:
        _print(checks, diagnosis, has_gpu=bool(facts.gpus))
    if strict and any(not check.ok for check in checks):
        raise SystemExit(1)


def supported_profiles() -> tuple[str, ...]:
    """Memory profiles that the family of the 20 B model can run: its `memory_profiles`, at least bf16 and GGUF."""
    from whichlora import registry

    return tuple(getattr(registry.load("families", "qwen_image_edit"), "memory_profiles", ("bf16", "gguf-q8")))


def _files(comfyui: Path | None) -> list[Check]:
    """What lies on this disk already: ComfyUI's models and the Hub's cache."""
    from whichlora.machine.checks import Check
    from whichlora.survey import places

    found = places.discover(comfyui)
    files = places.files_in(found)
    checks = [Check("ComfyUI", True, _comfy_line(found, files))]
    cached = {file.repo_id for file in files if file.repo_id}
    bases = [base for base in _BASES if base in cached]
    total = sum(file.size_bytes for file in files if file.place == "Hub cache") / 1e9
    line = f"{len(cached)} repositories with weights, {total:.1f} GB"
    checks.append(Check("Hub cache", True, line + (f"; has {', '.join(bases)}" if bases else "")))
    checks += [Check("model paths", False, problem, "Mend the file, or remove it.") for problem in found.problems]
    return checks


def _packs() -> Check:
    """Optional recognisers for identity that are installed, with their licences."""
    from whichlora.machine.checks import Check
    from whichlora.vision import packs

    ready = [pack.licence_line() for name, pack in packs.PACKS.items() if not packs.missing(name)]
    return Check("identity packs", True, "; ".join(ready) or "none (whichlora packs lists a second opinion to add)")


def _comfy_line(found: Any, files: list[Any]) -> str:
    kinds: dict[str, int] = {}
    for file in files:
        if file.place != "Hub cache":
            kinds[file.kind] = kinds.get(file.kind, 0) + 1
    if not found.comfy_roots and not kinds:
        return "not found (set COMFYUI_PATH to reuse its files)"
    counts = ", ".join(f"{count} in {kind}" for kind, count in sorted(kinds.items())) or "no weight files"
    return f"{', '.join(map(str, found.comfy_roots)) or 'folders'}: {counts}"


def _document(checks: list[Check], diagnosis: Diagnosis) -> dict[str, Any]:
    profile = diagnosis.profile
    return {
        "checks": [
            {"name": check.name, "ok": check.ok, "found": check.found, "fix": check.fix or None} for check in checks
        ],
        "profile": profile.name if profile is not None else None,
        "profile_when_free": diagnosis.after_closing.name if diagnosis.after_closing is not None else None,
        "profiles": [
            {
                "name": fit.profile.name, "fits": fit.fits, "supported": fit.supported,
                "vram_gib": fit.profile.vram_gib,
                "ram_gib": fit.profile.ram_gib, "download_gb": round(fit.profile.download_gb, 1),
                "exact": fit.profile.exact, "source": fit.profile.source, "reason": fit.reason or None,
            }
            for fit in diagnosis.fits
        ],
    }


def profile_fixes(fits: Sequence[Fit], *, has_gpu: bool) -> list[str]:
    """The line that mends each profile that is ✗; without a GPU one line for all of them."""
    if not has_gpu:
        return ["Every profile needs a GPU with the VRAM of its row: run there, and copy the project folder."]
    return [
        f"{fit.profile.name}: {fit.reason or 'it fits, but this version cannot run it'}" + (
            f"; needs a machine with {fit.profile.vram_gib:.1f} GiB of VRAM free and {fit.profile.ram_gib:.0f} GiB of "
            "RAM" if fit.reason else "; use another row") for fit in fits if not (fit.fits and fit.supported)
    ]


def _print(checks: list[Check], diagnosis: Diagnosis, *, has_gpu: bool) -> None:
    from rich.table import Table

    print_checks(checks)
    answer_console.print("\nMemory profiles of the 20 B model, at their peak (1024², one reference picture):")
    fits = Table(box=None, pad_edge=False, header_style="bold")
    fits.add_column("")
    fits.add_column("profile", no_wrap=True)
    for name in ("VRAM GiB", "RAM GiB", "download GB"):
        fits.add_column(name, justify="right")
    fits.add_column("pictures")
    fits.add_column("figures")
    for fit in diagnosis.fits:
        profile = fit.profile
        known = profile.source.split(":")[0].split()[0] + ("" if fit.supported else "; not in this version")
        fits.add_row(
            "✓" if fit.fits and fit.supported else "✗", profile.name, f"{profile.vram_gib:.1f}",
            f"{profile.ram_gib:.0f}", f"{profile.download_gb:.0f}", "exact" if profile.exact else "differ", known,
        )
    answer_console.print(fits, soft_wrap=False)
    for line in profile_fixes(diagnosis.fits, has_gpu=has_gpu):
        answer_console.print(f"→ {line}", markup=False)
    answer_console.print("Scores are never compared across profiles. Sources of the figures: whichlora doctor --json")
