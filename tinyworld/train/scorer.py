"""The figure reader: one small network that tells who a figure is and how the scene is set.

It never sees the demonstration's character, nor the output of any LoRA: only renders of
random people, blurred, noised, and passed through the autoencoder.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as nnf
from model import ENCODE_BATCH, Codec
from people import GROUP, VIEWS_OF_PERSON, PeoplePool
from settings import Job
from torch import Tensor, nn
from trainer import GraphTrainer

from store import save_weights
from whichlora.tinyworld.identity import HAIR_STYLES, HATS
from whichlora.tinyworld.state import BACKGROUNDS, EXPRESSIONS, LIGHTS

EMBEDDING = 64
WIDTHS = (3, 24, 40, 64, 96, 128)
OUTPUTS: dict[str, int] = {
    "embedding": EMBEDDING,
    "yaw_sincos": 2,
    "pitch": 1,
    "zoom": 1,
    "background": len(BACKGROUNDS),
    "light": len(LIGHTS),
    "expression": len(EXPRESSIONS),
    "skin_rgb": 3,
    "hair_rgb": 3,
    "shirt_rgb": 3,
    "hair_style": len(HAIR_STYLES),
    "hat": len(HATS),
    "glasses": 2,
    "figure_present": 1,
}
CLASSES = ("background", "light", "expression", "hair_style", "hat", "glasses")


class FigureReader(nn.Module):
    """Five halving stages, a squeeze, one hidden layer, one linear layer for all outputs."""

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for i, (narrow, wide) in enumerate(itertools.pairwise(WIDTHS)):
            stages += self._layer(narrow, wide, 2)
            if 0 < i < len(WIDTHS) - 2:
                stages += self._layer(wide, wide, 1)
        self.stages = nn.Sequential(*stages, *self._layer(WIDTHS[-1], 48, 1, kernel=1))
        self.hidden = nn.Linear(48 * 16, 192)
        self.heads = nn.Linear(192, sum(OUTPUTS.values()))

    @staticmethod
    def _layer(narrow: int, wide: int, stride: int, kernel: int = 3) -> list[nn.Module]:
        conv = nn.Conv2d(narrow, wide, kernel, stride, kernel // 2, bias=False)
        return [conv, nn.BatchNorm2d(wide), nn.ReLU()]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Outputs by name for images n×3×128×128 in 0..1; logits and raw numbers."""
        features = self.stages(image * 2 - 1).flatten(1)
        raw = self.heads(torch.relu(self.hidden(features))).split(list(OUTPUTS.values()), 1)
        out = dict(zip(OUTPUTS, raw, strict=True))
        out["embedding"] = nnf.normalize(out["embedding"].float(), dim=1)
        return out


def _worn(pictures: Tensor) -> Tensor:
    """Noise, blur and brightness changes, as imperfect generators leave them."""
    count, device = len(pictures), pictures.device
    blurred = nnf.interpolate(nnf.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
    blur = (torch.rand(count, 1, 1, 1, device=device) - 0.4).clamp(0, 0.6) / 0.6
    pictures = pictures + (blurred - pictures) * blur
    noise = torch.rand(count, 1, 1, 1, device=device) ** 2 * 0.09
    gain = 1 + (torch.rand(count, 1, 1, 1, device=device) - 0.5) * 0.12
    return (pictures * gain + noise * torch.randn_like(pictures)).clamp(0, 1)


def _identity_loss(embedding: Tensor) -> Tensor:
    """Contrast of two views of each person against everybody else and the near misses.

    embedding: 3b×64, rows (view, other view, near miss) of each person.
    """
    first, second, other = embedding.view(-1, 3, EMBEDDING).unbind(1)
    scale = 12.0
    label = torch.arange(len(first), device=first.device)
    # Near misses of every person are negatives for all; a person's own are the hard ones.
    forward = scale * torch.cat([first @ second.T, first @ other.T], 1)
    backward = scale * torch.cat([second @ first.T, second @ other.T], 1)
    same = (first * second).sum(1)
    own = torch.maximum((first * other).sum(1), (second * other).sum(1))
    margin = nnf.softplus(scale * (own - same + 0.25)).mean()
    contrast = nnf.cross_entropy(forward, label) + nnf.cross_entropy(backward, label)
    return 0.5 * contrast + 0.5 * margin


def train_scorer(job: Job, pool: PeoplePool, codec: Codec, seconds: float) -> FigureReader:
    """Train on the pool and its round trips through the autoencoder; saves scorer.safetensors."""
    with job.amp():
        tripped = _round_trips(pool, codec, job)
    truths = _truths(pool)
    reader = FigureReader().to(job.device).train()
    network = reader if job.toy else torch.compile(reader, dynamic=False)
    groups = len(pool.pictures) // GROUP
    people = 4 if job.toy else 192

    def step_loss() -> Tensor:
        index = _rows(people, groups, job.device)
        share = torch.rand(len(index), device=job.device)
        pictures = torch.where((share < 0.5)[:, None, None, None], tripped[index], pool.pictures[index])
        pictures = _worn(pictures.float() / 255)
        # Some rows show no figure: a bare backdrop, or another picture's scrambled tiles.
        empty = torch.rand(len(index), device=job.device) < 0.08
        tiles = pictures.view(-1, 3, 8, 16, 8, 16).flip(0).transpose(2, 4).reshape_as(pictures)
        bare = pool.empty[torch.randint(0, len(pool.empty), (len(index),), device=job.device)]
        bare = torch.where((share < 0.3)[:, None, None, None], tiles, bare.float() / 255)
        pictures = torch.where(empty[:, None, None, None], bare, pictures)
        with job.amp():
            out = network(pictures)
        return _reading_loss(out, {k: v[index] for k, v in truths.items()}, empty)

    trainer = GraphTrainer(reader.parameters(), step_loss, job, rate=3e-3, weight_decay=0.02)
    trainer.run(seconds, "scorer")
    reader.eval()
    if job.leads:
        save_weights(reader, job.out / "scorer.safetensors")
    return reader


def _round_trips(pool: PeoplePool, codec: Codec, job: Job) -> Tensor:
    parts = []
    for start in range(0, len(pool.pictures), ENCODE_BATCH):
        decoded = codec.decode(codec.encode(pool.pictures[start : start + ENCODE_BATCH]))
        parts.append((decoded * 255).round().byte())
    return torch.cat(parts)


def _rows(people: int, groups: int, device: torch.device) -> Tensor:
    """Pool rows (view, other view, near miss) of random people, flat."""
    group = torch.randint(0, groups, (people,), device=device) * GROUP
    view = torch.randint(0, VIEWS_OF_PERSON, (people,), device=device)
    step = 1 + torch.randint(0, VIEWS_OF_PERSON - 1, (people,), device=device)
    miss = VIEWS_OF_PERSON + torch.randint(0, GROUP - VIEWS_OF_PERSON, (people,), device=device)
    rows = [group + view, group + (view + step) % VIEWS_OF_PERSON, group + miss]
    return torch.stack(rows, 1).flatten()


def _truths(pool: PeoplePool) -> dict[str, Tensor]:
    who, states = pool.who, pool.states
    return {
        "yaw_sincos": torch.stack([states.yaw.sin(), states.yaw.cos()], 1),
        "pitch": states.pitch[:, None],
        "zoom": states.zoom[:, None],
        "background": states.background,
        "light": states.light,
        "expression": states.expression,
        "skin_rgb": who.skin,
        "hair_rgb": who.hair,
        "shirt_rgb": who.shirt,
        "hair_style": who.hair_style,
        "hat": who.hat,
        "glasses": who.glasses,
    }


def _reading_loss(out: dict[str, Tensor], truth: dict[str, Tensor], empty: Tensor) -> Tensor:
    shown = (~empty).float()
    frontal = shown * (truth["yaw_sincos"][:, 1] > 0.3).float()
    total = 1.2 * _identity_loss(out["embedding"])
    for name, weight in (
        ("yaw_sincos", 2.0), ("pitch", 4.0), ("zoom", 4.0), ("skin_rgb", 6.0),
        ("hair_rgb", 6.0), ("shirt_rgb", 6.0),
    ):  # fmt: skip
        error = ((out[name].float() - truth[name]) ** 2).sum(1)
        total = total + weight * (error * shown).mean()
    for name in CLASSES:
        visible = frontal if name in ("expression", "glasses") else shown
        error = nnf.cross_entropy(out[name].float(), truth[name], reduction="none")
        total = total + 0.35 * (error * visible).mean()
    present = nnf.binary_cross_entropy_with_logits(out["figure_present"][:, 0].float(), shown)
    return total + 0.3 * present


@torch.no_grad()
def reading_quality(job: Job, reader: FigureReader, pool: PeoplePool) -> dict[str, float]:
    """Accuracy on a pool of new people: classes, yaw error in degrees, identity AUC."""
    pictures, truth = pool.pictures.float() / 255, _truths(pool)
    parts = [reader(part) for part in pictures.split(256)]
    out = {name: torch.cat([part[name] for part in parts]).float() for name in OUTPUTS}
    frontal = truth["yaw_sincos"][:, 1] > 0.3
    report = {}
    for name in CLASSES:
        right = out[name].argmax(1) == truth[name]
        report[name] = right[frontal].float().mean().item()
    yaw, true_yaw = (torch.atan2(t[:, 0], t[:, 1]) for t in (out["yaw_sincos"], truth["yaw_sincos"]))
    error = torch.remainder(yaw - true_yaw + torch.pi, 2 * torch.pi) - torch.pi
    report["yaw_error_degrees"] = error.abs().rad2deg()[frontal].median().item()
    people = out["embedding"].view(-1, GROUP, EMBEDDING)
    same = (people[:, 0] * people[:, 1]).sum(1)
    near = (people[:, 0] * people[:, VIEWS_OF_PERSON]).sum(1)
    other = (people[:, 0] * people[:, 0].roll(1, 0)).sum(1)
    for name, values in (("near_miss", near), ("stranger", other)):
        report[f"auc_{name}"] = (same[:, None] > values[None]).float().mean().item()
    return {name: round(value, 3) for name, value in report.items()}
