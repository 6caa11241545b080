"""Rendered toy figures for metric tests, drawn once per run; needs torch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from whichlora.metrics.base import Picture, Reference, Subject

SOURCES = (0, 1, 4)
"""Reference scenes that tests edit: studio, forest with a smile, mountain lit from the left; all frontal."""


def draw(who, states) -> list[Picture]:
    """Render a batch as uint8 pictures."""
    import torch

    from whichlora.tinyworld.render import render

    # Two threads on a busy machine wait for each other at every small step; one is faster.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images = render(who, states)[0]
    torch.set_num_threads(threads)
    pixels = (images.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().byte().numpy()
    return [np.ascontiguousarray(item) for item in pixels]


@lru_cache(maxsize=1)
def references() -> list[Picture]:
    """Six pictures of the character."""
    from whichlora.tinyworld.characters import mina, reference_states

    return draw(mina().repeated(6), reference_states(12).select([0, 1, 2, 3, 4, 6]))


@lru_cache(maxsize=1)
def strangers() -> list[Picture]:
    """Six other figures in random scenes."""
    import torch

    from whichlora.tinyworld.identity import sample_identities
    from whichlora.tinyworld.state import sample_states

    dice = torch.Generator().manual_seed(11)
    return draw(sample_identities(6, generator=dice), sample_states(6, generator=dice))


@lru_cache(maxsize=8)
def edited_to(family: str, value: str) -> list[Picture]:
    """The true result of one edit on each source."""
    from whichlora.tinyworld.characters import mina, reference_states
    from whichlora.tinyworld.state import edited

    states = edited(reference_states(12).select(list(SOURCES)), family, value)
    return draw(mina().repeated(len(SOURCES)), states)


@lru_cache(maxsize=1)
def near_misses() -> dict[str, Picture]:
    """The character with one trait changed, frontal, by the trait."""
    import torch

    from whichlora.tinyworld.characters import mina, reference_states
    from whichlora.tinyworld.identity import drifted

    traits = ("skin", "hair_colour", "shirt", "hair_style", "glasses", "scarf")
    chosen = {trait: torch.tensor([name == trait for name in traits]) for trait in traits}
    who = drifted(mina().repeated(len(traits)), chosen, torch.Generator().manual_seed(3))
    return dict(zip(traits, draw(who, reference_states(12).select([1] * len(traits))), strict=True))


def sources() -> list[Picture]:
    """The pictures that are edited."""
    return [references()[index] for index in (0, 1, 4)]


def figure_subject() -> Subject:
    """The character with her own pictures and strangers."""
    own = [Reference(f"own-{index}", picture, same=True) for index, picture in enumerate(references())]
    others = [Reference(f"other-{index}", picture, same=False) for index, picture in enumerate(strangers())]
    return Subject("figure", (*own, *others))
