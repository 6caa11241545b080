"""Damage ladders on real photographs: more damage must never score better, and drift must be recovered.

    python bench/ladders.py            print every ladder
    python bench/ladders.py --json     one JSON document on stdout

The photographs are those that may be shipped: NASA's astronaut (scikit-image) and four official portraits. Limits:
a zoom within 0.1 %, a shift within 0.2 px, background PSNR restored by alignment to within 1 dB, every ladder monotone.
Exit status 1 when one is missed. About a minute on a quiet core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from metrics import photos  # noqa: E402
from whichlora.metrics.scoring import measure_picture, prepare_all  # noqa: E402
from whichlora.vision.align import register, undrifted  # noqa: E402
from whichlora.vision.picture import Picture  # noqa: E402

ZOOM_PERCENT, SHIFT_PX, LOST_DB = 0.1, 0.2, 1.0
SLACK = 0.02
"""Share of a ladder's span by which a step may fall back: noise of interpolation and of 8 bits."""
DRIFTS = ((1.005, 0.0, 0.0), (1.01, 2.0, -1.5), (1.02, 6.0, -4.0), (1.03, -3.0, 2.5), (1.05, 3.0, 3.0),
          (0.98, 0.3, 0.4))
"""(scale, dx, dy) that are planted; shifts in pixels."""
NAMES = (*photos.OWN, "vice-president", "astronaut")


@dataclass(frozen=True)
class Ladder:
    """One kind of damage on one photograph."""

    damage: str
    metric: str
    photograph: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    better: str

    @property
    def monotone(self) -> bool:
        """Whether no step scores better than the one before, and the last worse than the first."""
        worse = np.array(self.values) * (-1 if self.better == "higher" else 1)
        room = SLACK * float(np.ptp(worse))
        return bool((np.diff(worse) >= -room).all() and worse[-1] > worse[0])


def photograph(name: str) -> Picture:
    """A photograph by name."""
    return photos.astronaut() if name == "astronaut" else photos.portrait(name)


def _pasted(picture: Picture, share: float) -> Picture:
    """Somebody else's face in the upper corner, as high as `share` of the picture."""
    if share == 0:
        return picture
    deputy = photos.portrait("vice-president")
    other = photos.astronaut() if picture is deputy else deputy
    out, small = picture.copy(), photos.scaled(other, round(share * picture.shape[0]))
    out[: small.shape[0], : small.shape[1]] = small[: out.shape[0], : out.shape[1]]
    return out


def _blended(picture: Picture, share: float) -> Picture:
    return photos.face_onto(picture, photos.portrait("vice-president"), share) if share else picture


DAMAGE: dict[str, tuple[Callable[[Picture, float], Picture], tuple[float, ...], str, str]] = {
    "somebody else's face blended in": (_blended, (0, 0.25, 0.5, 0.75, 1), "identity/face", "higher"),
    "hue turned (degrees)": (photos.hue, (0, 10, 20, 30, 45), "drift/colour", "lower"),
    "blur (px)": (photos.blur, (0, 1, 2, 4), "preservation/ssim", "higher"),
    "blur of the face (px)": (photos.blur, (0, 1, 2, 4), "artifacts/texture", "lower"),
    "grid of 8 px (grey levels)": (lambda p, a: photos.grid(p, a, 8), (0, 3, 6, 10, 16), "artifacts/grid", "lower"),
    "grid of 16 px (grey levels)": (lambda p, a: photos.grid(p, a, 16), (0, 4, 8, 12, 16), "artifacts/grid", "lower"),
    "a face pasted in (share of the height)": (_pasted, (0, 0.2, 0.5, 0.8), "preservation/lpips", "lower"),
    "zoom": (photos.warp, (1, 1.005, 1.01, 1.02, 1.05), "drift/zoom", "lower"),
}
"""Damage → (what it does, steps, the metric that is made for it, which way is better)."""


def ladders() -> list[Ladder]:
    """Every damage on every photograph that shows what its metric needs."""
    found: list[Ladder] = []
    for name in NAMES:
        picture = photograph(name)
        for damage, (change, steps, metric, better) in DAMAGE.items():
            if metric == "identity/face" and name not in photos.OWN:
                continue  # calibrated on the president's portraits
            prepared = prepare_all(photos.person(), [metric])
            family = "expression" if metric.startswith(("preservation/", "drift/colour")) else "background"
            values: list[float] = []
            for step in steps:
                view = photos.view(picture, change(picture, step), family)
                value = measure_picture(view, prepared, [metric])[metric].value
                if value is not None:
                    values.append(float(value))
            if len(values) == len(steps):
                found.append(Ladder(damage, metric, name, tuple(map(float, steps)), tuple(values), better))
    return found


def drifts() -> dict[str, Any]:
    """Largest errors of recovered zooms and shifts, and the largest loss of PSNR after alignment."""
    worst = {"zoom_percent": 0.0, "shift_px": 0.0, "lost_db": 0.0, "pictures": 0}
    for name in NAMES:
        picture = photograph(name)
        for scale, dx, dy in DRIFTS:
            output = photos.noisy(photos.warp(picture, scale, dx, dy), 4)
            found = register(picture, output)
            moved, inside, _ = undrifted(picture, output)
            # As a sceptic would: against the same noise without any drift, on the same pixels.
            lost = _db(picture, photos.noisy(picture, 4), inside) - _db(picture, moved, inside)
            worst["zoom_percent"] = max(worst["zoom_percent"], 100 * abs(found.scale - scale))
            worst["shift_px"] = max(worst["shift_px"], abs(found.dx_px - dx), abs(found.dy_px - dy))
            worst["lost_db"] = max(worst["lost_db"], lost)
            worst["pictures"] += 1
    return worst


def _db(a: Picture, b: Picture, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a[where].astype(float) - b[where]) ** 2)))


def main() -> int:
    """Climb, print, and say what was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="accepted like every bench script's; nothing is long here")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    climbed, drift = ladders(), drifts()
    limits = {"zoom_percent": ZOOM_PERCENT, "shift_px": SHIFT_PX, "lost_db": LOST_DB}
    missed = [f"{item.damage} on {item.photograph}: {item.values}" for item in climbed if not item.monotone]
    missed += [f"{key}: {drift[key]:.3g}, at most {limit:g} is asked" for key, limit in limits.items()
               if drift[key] > limit]
    if wanted.json:
        rows = [{**asdict(item), "monotone": item.monotone} for item in climbed]
        print(json.dumps({"ladders": rows, "drift": drift, "limits": limits, "missed": missed}, indent=1))
    else:
        for item in climbed:
            steps = "  ".join(f"{step:g}: {value:.4g}" for step, value in zip(item.steps, item.values, strict=True))
            print(f"{'ok  ' if item.monotone else 'MISS'} {item.metric}, {item.damage}, {item.photograph}: {steps}")
        for key, limit in limits.items():
            print(f"{'ok  ' if drift[key] <= limit else 'MISS'} worst {key} over {drift['pictures']} drifted pictures: "
                  f"{drift[key]:.3g} (at most {limit:g})")
    for line in missed:
        print(f"MISS {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
