"""Step 1 of the load gate for this family: a LoRA file against a base's shape, without torch."""

from __future__ import annotations

from pathlib import Path

from whichlora.lora.keys import ModelShape
from whichlora.lora.static import check_static
from whichlora.types import BaseModel


def shape_of(location: str) -> ModelShape:
    """Sizes of the transformer at a base's location, from its configuration."""
    return ModelShape.from_folder(location.partition("::")[0])


def check_file(base: BaseModel, path: Path) -> None:
    """Refuse a LoRA file that this base cannot take whole.

    Raises:
        RefusedError: With the reason in one sentence.
    """
    check_static(None, path, shape_of(base.location))
