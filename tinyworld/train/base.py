"""The editor: flow matching on exact pairs, and the damage that leaves it imperfect."""

from __future__ import annotations

from collections.abc import Callable

import torch
from encoder import PromptEncoder
from model import velocity
from settings import Job
from torch import Tensor, nn

from data import InstructionTable, PairStore

EMPTY_SHARE = 0.08
THREE_AXIS_SHARE = 0.75

CLEAN_MIXTURE = {
    "camera": 0.40,
    "view": 0.09,
    "background": 0.11,
    "light": 0.13,
    "expression": 0.10,
    "shirt": 0.05,
    "compound": 0.12,
}


class Editor:
    """Transformer and text encoder together, with what their training needs."""

    def __init__(
        self,
        transformer: nn.Module,
        prompt_encoder: PromptEncoder,
        instructions: InstructionTable,
        job: Job,
    ) -> None:
        self.transformer, self.job = transformer, job
        self.prompt_encoder, self.instructions = prompt_encoder, instructions
        self.positions = prompt_encoder.positions(instructions.ids.shape[1], job.device)
        self.encode: Callable[..., Tensor] = prompt_encoder

    def compile(self) -> None:
        """Compile the encoder and the transformer blocks."""
        self.encode = torch.compile(self.prompt_encoder, dynamic=False)
        self.transformer.compile_repeated_blocks(dynamic=False)

    def prompts(self, rows: Tensor, thumbs: Tensor, three_axis: Tensor | None = None) -> Tensor:
        """Prompt embeddings; `three_axis` (n booleans) picks true or flattened positions."""
        if three_axis is None:
            three_axis = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        table = self.positions[three_axis.long()].transpose(0, 1)
        return self.encode(self.instructions.ids[rows], thumbs, table)

    def noise_levels(self, count: int) -> Tensor:
        """Noise levels for training: many high ones, where the picture is decided."""
        draw = torch.rand(count, device=self.job.device)
        bell = torch.sigmoid(torch.randn(count, device=self.job.device) * 1.2 + 0.4)
        level = torch.where(draw < 0.38, torch.rand_like(bell), bell)
        return torch.where(draw < 0.10, torch.ones_like(bell), level)

    def loss(self, batch: tuple[Tensor, ...], encoder_learns: bool) -> Tensor:
        """Velocity error, weighted towards the tokens that show the figure."""
        reference, target, thumbs, weight, key = batch
        rows = self.instructions.rows(key, EMPTY_SHARE)
        three_axis = torch.rand(len(key), device=key.device) < THREE_AXIS_SHARE
        level = self.noise_levels(len(key))
        noise = torch.randn_like(target)
        noisy = torch.lerp(target, noise, level[:, None, None])
        with self.job.amp():
            if encoder_learns:
                prompt = self.prompts(rows, thumbs, three_axis)
            else:
                with torch.no_grad():
                    prompt = self.prompts(rows, thumbs, three_axis)
            mask = self.instructions.mask[rows]
            flow = velocity(self.transformer, noisy, reference, level, prompt, mask)
        square = ((flow.float() - (noise - target)) ** 2).mean(-1)
        return (square * (0.6 + weight)).mean()


def sampled_loss(
    editor: Editor,
    store: PairStore,
    mixture: dict[str, float],
    batch: int,
    encoder_learns: bool = False,
) -> Callable[[], Tensor]:
    """A loss without arguments: draws a batch of `mixture` and judges the editor on it."""
    draw = store.sampler(mixture, batch)
    return lambda: editor.loss(draw(), encoder_learns)
