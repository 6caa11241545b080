"""Repeating a bundle: is everything there before it begins, and does the same come out?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whichlora.export.bundle import Repetition
    from whichlora.types import Plan


def require_material(folder: Path) -> dict[str, Any] | None:
    """The bundle's document when a project is one and all it needs is there; None for other projects.

    Raises:
        MissingFileError: A photograph or LoRA of the bundle is missing or is another file.
        ProjectError: The bundle cannot be read.
    """
    from whichlora.cli.project import lora_folder
    from whichlora.export.bundle import check_material, read_bundle
    from whichlora.workspace import Workspace

    document = read_bundle(folder)
    if document is not None:
        check_material(folder, document, lora_folder(Workspace.open(folder)).find)
    return document


def repetition(folder: Path, document: dict[str, Any], plan: Plan) -> Repetition:
    """How what was made agrees with the bundle."""
    from whichlora.export.bundle import compare
    from whichlora.store import Store

    with Store(folder) as store:
        return compare(document, plan, store.generations())
