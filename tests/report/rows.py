"""What is planted in the made-up project: candidates with their chances, and the instructions."""

from __future__ import annotations

from dataclasses import dataclass

FAMILIES = ("camera", "lighting", "background", "expression")
PROMPTS = {
    "camera": "将镜头向左旋转45度 Rotate the camera 45 degrees to the left.",
    "lighting": "Relight the scene as a warm sunset from the right.",
    "background": "Place the figure in a forest; keep everything else as it is.",
    "expression": "Make her smile.",
}


@dataclass(frozen=True)
class Row:
    """A planted candidate: chances per family of doing the edit and of keeping the person."""

    name: str
    edit: tuple[float, float, float, float]
    keep: float
    role: str = "candidate"
    seconds: float = 4.1
    licence: str = "apache-2.0"
    mesh: float = 0.0


ROWS = (
    Row("base", (0.3, 0.75, 0.9, 0.6), 0.8, "base"),
    Row("Multi-Angles v2 @0.9 + Relight-Sunset-Deluxe @0.6", (0.95, 0.92, 0.93, 0.7), 0.95, seconds=4.6),
    Row("multi-angles-v2", (0.95, 0.7, 0.9, 0.55), 0.93, seconds=4.3),
    Row("Relight 光影大师", (0.35, 0.97, 0.9, 0.6), 0.86, licence="unknown", seconds=4.4),
    Row("angles-overtrained", (0.97, 0.6, 0.7, 0.5), 0.35, licence="cc-by-nc-4.0"),
    Row("lightning-4step", (0.3, 0.7, 0.85, 0.5), 0.74, seconds=0.9, mesh=0.25),
    Row("expression-sheet", (0.2, 0.6, 0.85, 0.92), 0.82, licence="openrail++"),
    Row("do-nothing", (0, 0, 0, 0), 1.0, "control", seconds=0.0),
)
