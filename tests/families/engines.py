"""Small models, forwards and answers that the tests of the engine share."""

from __future__ import annotations

import torch

from families import tiny
from whichlora.families._qwen.calls import Call
from whichlora.families._qwen.layout import forward_layout

LAYERS = 4
LEVELS = (0.9, 0.4, 0.1)
SHAPES = ((1, 4, 6), (1, 4, 4), (1, 6, 4), (1, 2, 8))


def model(zero_cond_t=False, layers=2, dtype=torch.float32):
    torch.manual_seed(3)
    made = tiny.transformer(zero_cond_t, layers=layers).eval().requires_grad_(False)
    return made.to(dtype)


def calls(references, dtype=torch.float32, guidance=True):
    generator = torch.Generator().manual_seed(5)

    def draw(*shape):
        return torch.randn(*shape, generator=generator).to(dtype)

    shapes = [list(SHAPES[: references + 1])]
    latents = draw(1, 24, 64)
    images = tuple(draw(1, height * width, 64) for _, height, width in shapes[0][1:])
    found = [Call("with", latents, images, draw(1, 13, 64), shapes)]
    if guidance:
        found.append(Call("without", latents, images, draw(1, 7, 64), shapes))
    return found


def answers(engine, wanted, dtype=torch.float32):
    with torch.inference_mode():
        engine.begin(torch.tensor(LEVELS).to(dtype))
        return [torch.cat([each.flatten() for each in engine.forward(wanted, step)]) for step in range(len(LEVELS))]


def relative(found, wanted):
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in zip(found, wanted, strict=True))


def budget(made, blocks):
    return blocks * forward_layout(made.transformer_blocks[0]).bytes
