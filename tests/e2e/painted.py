"""A project of the weightless family with six LoRAs of known strength on toy photographs."""

from __future__ import annotations

from pathlib import Path

import yaml

from families.painters import base, lora
from whichlora.cli.init import create_project
from whichlora.tinyworld.characters import write_demo_references, write_impostors
from whichlora.workspace import SUITE_NAME

STRENGTHS = {"best": 1.0, "second": 0.75, "third": 0.3, "fourth": 0.2, "fifth": 0.15, "sixth": 0.1}
ORDER = ("fourth", "best", "sixth", "third", "second", "fifth")
"""As listed in the suite: it has nothing to do with strength."""
EDITS = [
    {"name": "sunset", "family": "lighting", "prompt": "relight with warm sunset light", "target": {"light": "sunset"}},
    {"name": "moon", "family": "lighting", "prompt": "relight with cold moon light", "target": {"light": "moon"}},
    {"name": "beach", "family": "background", "prompt": "change the background to a beach",
     "target": {"background": "beach"}},
    {"name": "forest", "family": "background", "prompt": "change the background to a forest",
     "target": {"background": "forest"}},
]


def painted_project(folder: Path, photos: int = 6, edited: int | None = None) -> Path:
    """Create it; `edited` of the photographs are the suite's sources."""
    scratch = folder.parent / f"{folder.name}-material"
    scratch.mkdir(parents=True)
    refs, others = write_demo_references(scratch / "refs", photos), write_impostors(scratch / "impostors")
    painter = base(scratch / "painter", strengths={"lighting": 0.0, "background": 0.0}, faces=False)
    create_project(
        folder, refs, others, template="figure",
        candidates=[{"name": name, "loras": f"{name}.safetensors"} for name in ORDER],
        head={"name": "painted", "base": {"family": "painter", "location": str(painter)}, "subject": "figure",
              "sources": {"count": edited or photos}},
    )
    for name, value in STRENGTHS.items():
        lora(folder / "loras" / f"{name}.safetensors", lighting=value, background=value)
    path = folder / SUITE_NAME
    suite = yaml.safe_load(path.read_text(encoding="utf-8"))
    suite.update(edits=EDITS, must_have=["lighting", "background"], seeds=[1, 2])
    path.write_text(yaml.safe_dump(suite, allow_unicode=True), encoding="utf-8")
    return folder
