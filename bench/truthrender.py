"""Rendered edits of toy figures: perfect ones, and ones that are wrong in exactly one known way.

Wrong person (one trait, or a stranger), wrong edit (not done, half done, the wrong way, another class), damaged pixels,
and things that should have stayed and did not. Does not measure; see `truth.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from truthset import (
    ROOT,
    Item,
    _seed,
    asked_for,
    cases,
    lookalikes,
    own_pictures,
    people,
    render_pictures,
    scene,
)

assert ROOT.is_dir()
from metrics import photos  # noqa: E402
from whichlora.metrics.base import Picture  # noqa: E402

SHOWN = 1.5e-3
"""Mean square change (0–1) from which on a changed trait shows in a view."""


def _black(picture: Picture, _: int) -> Picture:
    return np.zeros_like(picture)


def _flat(picture: Picture, _: int) -> Picture:
    return np.full_like(picture, 137)


def _noise(picture: Picture, seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, picture.shape, dtype=np.uint8)


def _grid(picture: Picture, seed: int) -> Picture:
    return photos.grid(picture, 10.0, 8 if seed % 2 else 16)


def _tiled(picture: Picture, _: int) -> Picture:
    half = picture[::2, ::2]
    return np.ascontiguousarray(np.tile(half, (2, 2, 1)))


def _banded(picture: Picture, _: int) -> Picture:
    return (picture // 40 * 40 + 20).clip(0, 255).astype(np.uint8)


def _blown(picture: Picture, _: int) -> Picture:
    return np.clip((picture.astype(float) - 110) * 4 + 128, 0, 255).astype(np.uint8)


UNUSABLE: dict[str, Callable[[Picture, int], Picture]] = {"black": _black, "flat": _flat, "noise": _noise}
SPOILT: dict[str, Callable[[Picture, int], Picture]] = {
    "grid": _grid, "tiling": _tiled, "banding": _banded, "clipping": _blown,
}


def rendered() -> Iterator[Item]:
    """Every rendered item, case by case. About eight a case."""
    for index, (name, number, edit) in enumerate(cases()):
        yield from _case(index, name, number, edit)


def _case(index: int, name: str, number: int, edit: str) -> Iterator[Item]:
    from whichlora.tinyworld.edits import apply_edits

    wanted, family, _ = asked_for(edit)
    after = apply_edits(people()[name], scene(number), (wanted,))[1]
    perfect = render_pictures(people()[name], after)[0]
    stem = f"{name}/{number}/{edit}"

    def item(kind: str, picture: Picture, done: bool | None, kept: bool | None, *, usable: bool = True,
             spoilt: bool = False) -> Item:
        return Item(f"{stem}/rendered:{kind}", picture, done, kept, usable, spoilt)

    yield item("perfect", perfect, True, True)
    yield item("perfect-codec", photos.vae_like(perfect), True, True)
    yield from (item(kind, picture, True, False) for kind, picture in _others(index, name, after, perfect))
    yield from (item(kind, picture, False, True) for kind, picture in _wrong(index, name, number, wanted, perfect))
    for kind, damage in (*UNUSABLE.items(), *SPOILT.items()):
        if index % 7 == [*UNUSABLE, *SPOILT].index(kind):
            yield item(kind, damage(perfect, index), None, None, usable=kind not in UNUSABLE, spoilt=kind in SPOILT)
    if index % 7 == 5:
        yield item("people", _empty(after), False, False, spoilt=True)
    for kind, picture in _not_kept(index, name, after, perfect, family, number):
        yield item(kind, picture, None, None)


def _others(index: int, name: str, after: Any, perfect: Picture) -> Iterator[tuple[str, Picture]]:
    """Somebody else, properly edited: one trait changed (as far as it shows in this view), and a stranger."""
    import torch

    from whichlora.tinyworld.identity import drifted

    titles, crowd = lookalikes(name, _seed(name, 2))
    turns = list(range(len(titles) - 2))
    for step in turns:
        chosen = (index + step) % len(turns)
        picture = render_pictures(crowd.select([chosen]), after)[0]
        if _differs(picture, perfect) > SHOWN:
            yield f"trait-{titles[chosen]}", picture
            break
    stranger = len(titles) - 2 + index % 2
    yield "stranger", render_pictures(crowd.select([stranger]), after)[0]
    if index % 4 == 0:
        dice = torch.Generator().manual_seed(_seed(name, 3))
        picture = render_pictures(drifted(people()[name], {"eyes": torch.tensor([True])}, dice), after)[0]
        if _differs(picture, perfect) > 1e-5:
            yield "trait-eyes", picture


def _wrong(index: int, name: str, number: int, wanted: Any, perfect: Picture) -> Iterator[tuple[str, Picture]]:
    """The right person, wrongly edited: not at all, and in one other way."""
    from whichlora.tinyworld.truth import wrong_states

    wrong = {key: state for key, state in wrong_states(scene(number), (wanted,)).items() if key != "unedited"}
    yield "unedited", own_pictures(name)[number]
    if index % 2:
        yield "unedited-codec", photos.vae_like(own_pictures(name)[number])
    keys = list(wrong)
    for step in range(len(keys)):
        key = keys[(index + step) % len(keys)]
        picture = render_pictures(people()[name], wrong[key])[0]
        if _differs(picture, perfect) > 1e-4:
            yield f"wrong-{key}", picture
            break


def _not_kept(
    index: int, name: str, after: Any, perfect: Picture, family: str, number: int,
) -> Iterator[tuple[str, Picture]]:
    """Drift, and a background or mirror image that nobody asked for."""
    from whichlora.tinyworld.state import BACKGROUNDS

    if index % 3 == 0 and family in ("expression", "background"):
        yield "zoomed", photos.warp(perfect, 1.04, 2.0, -1.5)
    if index % 3 == 1 and family in ("expression", "background"):
        yield "hue", photos.hue(perfect, 30)
    if family in ("expression", "camera"):
        other = (int(after.background[0]) + 1 + index % (len(BACKGROUNDS) - 1)) % len(BACKGROUNDS)
        yield "elsewhere", render_pictures(people()[name], after.replaced(background=other))[0]
    if index % 5 == 2:
        yield "mirrored", np.ascontiguousarray(own_pictures(name)[number][:, ::-1])


def _empty(after: Any) -> Picture:
    """The scene without anybody in it."""
    import torch

    from whichlora.tinyworld.render import render

    image = render(people()["mina"], after, shown=torch.tensor([False]))[0][0]
    return (image.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()


def _differs(a: Picture, b: Picture) -> float:
    return float(np.mean(((a.astype(float) - b) / 255) ** 2))
