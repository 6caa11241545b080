"""Control rows: pictures whose verdict is known beforehand. They show whether the metrics can be believed.

'do-nothing' must fail every edit, 'vae-round-trip' too, 'other-person' must fail identity, 'real-pair' (another
photograph of the same character) is what identity looks like at its best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from whichlora.families.base import Picture, Session
from whichlora.types import Candidate, EditCase, Plan


def control_picture(
    candidate: Candidate, case: EditCase, plan: Plan, session: Session, picture: Callable[[str], Picture]
) -> Picture:
    """The picture of a control row for a case, at the size that a generated one would have."""
    source = picture(case.source)
    height, width = session.output_size(source, candidate.sampler)
    if candidate.control == "vae-round-trip":
        return session.round_trip(source, candidate.sampler)
    if candidate.control == "do-nothing":
        return fit(source, height, width)
    index = next(i for i, item in enumerate(plan.sources) if item.id == case.source)
    if candidate.control == "other-person":
        return fit(picture(plan.impostors[index % len(plan.impostors)].id), height, width)
    others = [item for item in (*plan.sources, *plan.calibration) if item.id != case.source]
    return fit(picture(others[index % len(others)].id), height, width)


def missing_material(candidate: Candidate, plan_sources: int, impostors: int, calibration: int) -> str:
    """Why a control row cannot be made, or ''."""
    if candidate.control == "other-person" and impostors == 0:
        return "no photographs of others were given"
    if candidate.control == "real-pair" and plan_sources + calibration < 2:
        return "there is only one photograph of the character"
    return ""


def fit(picture: Picture, height: int, width: int) -> Picture:
    """Resize to exactly height × width, cutting what does not fit the shape (no stretching)."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(picture)
    scale = max(height / image.height, width / image.width)
    size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    image = image.resize(size, Image.Resampling.LANCZOS)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(image.crop((left, top, left + width, top + height)).convert("RGB"))
