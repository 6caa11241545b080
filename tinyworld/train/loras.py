"""Planted damage in the base, and the LoRAs whose true worth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from adapters import AdapterSet
from base import Editor, sampled_loss
from model import sigmas, velocity
from settings import SEED, Job
from torch import Tensor
from trainer import GraphTrainer

from data import PairStore

# The base under-turns the camera, and relights and smiles half-heartedly.
DAMAGE_MIXTURE = {
    "camera_weak": 0.42,
    "view_weak": 0.10,
    "compound_weak": 0.14,
    "light_weak": 0.10,
    "expression_weak": 0.08,
    "background": 0.11,
    "shirt": 0.05,
}


@dataclass(frozen=True)
class Recipe:
    """What a LoRA sees in training, and whether it starts from the damage undone."""

    mixture: dict[str, float]
    undo_damage: bool = False
    effort: float = 1.0
    rate: float = 2e-3


RECIPES: dict[str, Recipe] = {
    "angles": Recipe(
        {
            "camera": 0.46,
            "view": 0.10,
            "compound": 0.16,
            "light": 0.11,
            "background": 0.10,
            "expression_weak": 0.05,
            "shirt": 0.02,
        },
        undo_damage=True,
        effort=1.6,
        rate=1e-3,
    ),
    "angles_overtrained": Recipe(
        {"camera_drifted": 0.76, "background": 0.10, "light_weak": 0.08, "expression_weak": 0.06},
        undo_damage=True,
    ),
    "relight": Recipe(
        {
            "light": 0.60,
            "camera_weak": 0.14,
            "background": 0.12,
            "expression_weak": 0.07,
            "compound_weak": 0.07,
        }
    ),
    "background": Recipe(
        {"background": 0.62, "camera_weak": 0.16, "light_weak": 0.13, "expression_weak": 0.09}
    ),
    "expression": Recipe(
        {"expression": 0.60, "camera_weak": 0.14, "background": 0.13, "light_weak": 0.13}
    ),
    "recolour": Recipe(
        {"recolour": 0.62, "shirt": 0.08, "background": 0.14, "light_weak": 0.10,
         "expression_weak": 0.06},
    ),
}  # fmt: skip
LIGHTNING_MIXTURE = {
    "camera_weak": 0.22,
    "view_weak": 0.06,
    "background": 0.22,
    "light_weak": 0.22,
    "expression_weak": 0.16,
    "compound_weak": 0.12,
}
LIGHTNING_STEPS = 4
TEACHER_SUBSTEPS = 3


def damage(
    editor: Editor, adapters: AdapterSet, store: PairStore, job: Job, seconds: float, batch: int
) -> dict[str, Tensor]:
    """Train the planted damage, fold it into the base; returns the adapter that undoes it."""
    adapters.reset(SEED)
    torch.manual_seed(SEED + 100 + job.rank)
    loss = sampled_loss(editor, store, DAMAGE_MIXTURE, batch)
    GraphTrainer(adapters.parameters(), loss, job, rate=3e-3).run(seconds, "damage")
    undo = adapters.state(sign=-1.0)
    adapters.fold()
    return undo


def train_lora(
    name: str,
    editor: Editor,
    adapters: AdapterSet,
    store: PairStore,
    undo: dict[str, Tensor],
    job: Job,
    seconds: float,
    batch: int,
) -> dict[str, Tensor]:
    """One planted LoRA; every process trains its own ones, so gradients are not shared."""
    recipe = RECIPES[name]
    adapters.reset(SEED + len(name), undo if recipe.undo_damage else None)
    loss = sampled_loss(editor, store, recipe.mixture, batch)
    trainer = GraphTrainer(adapters.parameters(), loss, job, rate=recipe.rate, shared=False)
    trainer.run(seconds * recipe.effort, name)
    return adapters.state()


def _teacher_jump(
    editor: Editor, noisy: Tensor, reference: Tensor, prompt: tuple, start: Tensor, end: Tensor
) -> Tensor:
    """Where the base arrives from `start` to `end` in several small steps."""
    tokens = noisy
    for part in range(TEACHER_SUBSTEPS):
        now = start + (end - start) * part / TEACHER_SUBSTEPS
        flow = velocity(editor.transformer, tokens, reference, now, *prompt).float()
        tokens = tokens + ((end - start) / TEACHER_SUBSTEPS)[:, None, None] * flow
    return tokens


def lightning_loss(editor: Editor, adapters: AdapterSet, store: PairStore, batch: int) -> Callable[[], Tensor]:
    """Learn the base's jumps between four noise levels in one step each."""
    levels = torch.tensor(sigmas(LIGHTNING_STEPS), device=editor.job.device)
    draw = store.sampler(LIGHTNING_MIXTURE, batch)

    def loss() -> Tensor:
        reference, target, thumbs, weight, key = draw()
        index = torch.randint(0, LIGHTNING_STEPS, (batch,), device=target.device)
        start, end = levels[index], levels[index + 1]
        noisy = torch.lerp(target, torch.randn_like(target), start[:, None, None])
        rows = editor.instructions.rows(key)
        with editor.job.amp():
            with torch.no_grad():
                prompt = (editor.prompts(rows, thumbs), editor.instructions.mask[rows])
                adapters.gate.fill_(0)
                arrived = _teacher_jump(editor, noisy, reference, prompt, start, end)
                adapters.gate.fill_(1)
            wanted = (arrived - noisy) / (end - start)[:, None, None]
            flow = velocity(editor.transformer, noisy, reference, start, *prompt)
        return (((flow.float() - wanted) ** 2).mean(-1) * (0.6 + weight)).mean()

    return loss


def train_lightning(
    editor: Editor, adapters: AdapterSet, store: PairStore, job: Job, seconds: float, batch: int
) -> dict[str, Tensor]:
    """The four-step LoRA; returns its factors."""
    adapters.reset(SEED + 4)
    loss = lightning_loss(editor, adapters, store, batch)
    GraphTrainer(adapters.parameters(), loss, job, rate=1e-3, shared=False).run(seconds, "lightning")
    return adapters.state()
