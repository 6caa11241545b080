"""One or several face recognisers on a subject's own scale, and their fused verdict. No picture is judged here.

Each recogniser has its own similarity, its own scale, and a threshold per yaw bin at 1 % false match. With several,
each similarity is first placed on its own scale (0 = a typical stranger, 1 = as alike as own photographs); the mean of
the places is calibrated once more on the same photographs, so that the fused threshold lets 1 % of strangers pass too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics.base import Picture
from whichlora.metrics.identity._calibration import Defaults, Scale, calibrate, nearest
from whichlora.vision import faces, packs, recognisers
from whichlora.vision.faces import Face

YAW_BINS_DEG = (20.0, 45.0)
"""Edges of |yaw| between which strangers are pooled; turned faces of strangers are more alike."""
BIN_IMPOSTORS = 20
"""Strangers that a yaw bin needs for a threshold of its own."""
PACKAGED = "dlib ResNet-29"

Embed = Callable[[Picture, Face], NDArray[np.float32]]
Compare = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class Recogniser:
    """A way of telling faces apart."""

    name: str
    licence: str
    embed: Embed
    compare: Compare
    """n × d, m × d → n × m similarities that grow with likeness."""
    defaults: Defaults


@dataclass(frozen=True)
class Calibrated:
    """A recogniser on a subject's scale."""

    recogniser: Recogniser
    own: NDArray[np.float32]
    """Embeddings of the own photographs, n × d."""
    scale: Scale
    """Pooled over yaw."""
    bins: tuple[Scale | None, ...]
    """Per yaw bin, where enough strangers fall into it."""
    among_own: tuple[float, ...]
    """Similarity of each own photograph to the nearest other; () for a single one."""
    to_own: tuple[float, ...]
    """Similarity of each stranger to the nearest own photograph, in the order of the photographs."""

    def scale_at(self, yaw_deg: float) -> Scale:
        """The scale for a face turned by this yaw."""
        return self.bins[yaw_bin(yaw_deg)] or self.scale

    def similarities(self, picture: Picture, face: Face) -> NDArray[np.float64]:
        """Similarity of a face to every own photograph."""
        return self.recogniser.compare(self.recogniser.embed(picture, face)[None], self.own)[0]


def yaw_bin(yaw_deg: float) -> int:
    """Index of the |yaw| bin."""
    return int(np.searchsorted(YAW_BINS_DEG, abs(yaw_deg), side="right"))


def distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Minus the Euclidean distances of all pairs."""
    return -np.linalg.norm(a[:, None].astype(np.float64) - b[None].astype(np.float64), axis=-1)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Dot products of all pairs of unit vectors."""
    return a.astype(np.float64) @ b.T.astype(np.float64)


def packaged() -> Recogniser:
    """The recogniser that needs no download.

    Measured on public sets: strangers at a distance of about 0.8, one person at 0.25–0.45, 0.3 % false match at 0.6.
    """
    defaults = Defaults(own_median=-0.40, impostor_median=-0.80, threshold=-0.60, never_below=-0.60)
    return Recogniser(PACKAGED, "public domain", faces.embed, distances, defaults)


_DEFAULTS = {
    # Thresholds are the publishers' own; medians are only used until the subject's photographs replace them.
    "yunet-sface": Defaults(own_median=0.60, impostor_median=0.05, threshold=0.363, never_below=0.363),
    "auraface": Defaults(own_median=0.55, impostor_median=0.03, threshold=0.32, never_below=0.28),
    "arcface": Defaults(own_median=0.55, impostor_median=0.03, threshold=0.32, never_below=0.28),
}


def chosen(names: Sequence[str]) -> list[Recogniser]:
    """The packaged recogniser and those of the given packs that are for faces."""
    found = [packaged()]
    for name in names:
        pack = packs.pack(name)
        if "photograph" in pack.subjects:
            embed = partial(recognisers.face_embedding, name)
            found.append(Recogniser(pack.title, pack.licence_line(), embed, cosines, _DEFAULTS[name]))
    return found


def calibrated(
    recogniser: Recogniser, own: Sequence[tuple[Picture, Face]], strangers: Sequence[tuple[Picture, Face, float]],
) -> Calibrated:
    """Place a recogniser on a subject's scale.

    Args:
        recogniser: The recogniser.
        own: The subject's photographs with their faces.
        strangers: Others' photographs with faces and yaws.
    """
    gallery = np.stack([recogniser.embed(picture, face) for picture, face in own])
    among = tuple(map(float, nearest(recogniser.compare(gallery, gallery)))) if len(own) > 1 else ()
    to_own = tuple(
        float(recogniser.compare(recogniser.embed(picture, face)[None], gallery).max())
        for picture, face, _ in strangers
    )
    scale = calibrate(among, to_own, recogniser.defaults)
    bins: list[Scale | None] = []
    for index in range(len(YAW_BINS_DEG) + 1):
        inside = [value for value, (_, _, yaw) in zip(to_own, strangers, strict=True) if yaw_bin(yaw) == index]
        enough = len(inside) >= BIN_IMPOSTORS
        bins.append(calibrate(among, inside, recogniser.defaults) if enough else None)
    return Calibrated(recogniser, gallery, scale, tuple(bins), among, to_own)


def place(scale: Scale, similarity: float) -> float:
    """Where a similarity lies between a typical stranger (0) and own photographs (1); may leave that range."""
    return (similarity - scale.impostor_median) / max(scale.own_median - scale.impostor_median, 1e-6)


def fused_scale(parts: Sequence[Calibrated]) -> Scale:
    """The scale of the mean place of several recognisers, calibrated on the same photographs."""
    def mean(values: Sequence[tuple[float, ...]]) -> list[float]:
        places = [[place(part.scale, value) for value in row] for part, row in zip(parts, values, strict=True)]
        return [float(np.mean(column)) for column in zip(*places, strict=True)]

    lines = [place(part.scale, part.scale.threshold) for part in parts]
    defaults = Defaults(own_median=1.0, impostor_median=0.0, threshold=float(np.mean(lines)))
    return calibrate(mean([part.among_own for part in parts]), mean([part.to_own for part in parts]), defaults)


def facts(part: Calibrated, similarity: float, yaw_deg: float) -> dict[str, Any]:
    """One recogniser's own view of a face, as plain data."""
    scale = part.scale_at(yaw_deg)
    return {
        "recogniser": part.recogniser.name, "licence": part.recogniser.licence, "similarity": similarity,
        "percent": scale.percent(similarity), "threshold_percent": scale.percent(scale.threshold),
        "would_pass": bool(similarity >= scale.threshold), "calibration": scale.calibration,
    }
