"""The autoencoder, trained on single pictures of the world."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from model import Codec, build_vae, clear_unused_taps, decode_latents, encode_moments
from people import PeoplePool
from settings import Job
from torch import Tensor, nn
from trainer import GraphTrainer

from data import rendered
from store import save_statistics, save_weights


def _edges(picture: Tensor) -> tuple[Tensor, Tensor]:
    return picture[..., 1:] - picture[..., :-1], picture[..., 1:, :] - picture[..., :-1, :]


def reconstruction_loss(vae: nn.Module, pictures: Tensor, weights: Tensor) -> Tensor:
    """Weighted absolute error, the same at coarse scales, edges, and a light prior."""
    mean, log_variance = (t.float() for t in encode_moments(vae, pictures))
    log_variance = log_variance.clamp(-12, 4)
    latents = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    error = decode_latents(vae, latents).float() - pictures
    coarse = sum(nnf.avg_pool2d(error, k).abs().mean() for k in (2, 4))
    across, down = _edges(error)
    edges = (across.abs() * weights[..., 1:]).mean() + (down.abs() * weights[..., 1:, :]).mean()
    prior = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
    fine = (error.abs() * weights).mean() + 2.0 * (error**2 * weights).mean()
    return fine + 0.5 * coarse + 0.6 * edges + 2e-4 * prior


def detail_weights(pictures: Tensor, masks: Tensor) -> Tensor:
    """Where errors count most: on the figure, and on strong edges such as eyes (n×1×h×w)."""
    smooth = nnf.avg_pool2d(pictures, 5, 1, 2)
    detail = nnf.avg_pool2d((pictures - smooth).abs().mean(1, keepdim=True), 3, 1, 1)
    return 1 + 1.2 * masks + (detail * 6).clamp(max=2.0) * masks


def train_vae(job: Job, pool: PeoplePool, seconds: float) -> Codec:
    """Train, clear the unused taps, measure the latents; writes vae.safetensors."""
    vae = build_vae().to(job.device)
    batch = 8 if job.toy else 64
    loss = reconstruction_loss if job.toy else torch.compile(reconstruction_loss, dynamic=False)

    def step_loss() -> Tensor:
        index = torch.randint(0, len(pool.pictures), (batch,), device=job.device)
        pictures = pool.pictures[index].float() / 127.5 - 1
        weights = detail_weights(pictures, pool.masks[index].float())
        with job.amp():
            return loss(vae, pictures, weights)

    trainer = GraphTrainer(vae.parameters(), step_loss, job, rate=2e-3, betas=(0.9, 0.95), weight_decay=1e-4)
    trainer.run(seconds, "vae")
    clear_unused_taps(vae)
    vae.eval().requires_grad_(False)
    with torch.no_grad(), job.amp():
        parts = [
            encode_moments(vae, pool.pictures[i : i + 256].float() / 127.5 - 1)[0].float()
            for i in range(0, min(4096, len(pool.pictures)), 256)
        ]
    latents = torch.cat(parts)
    codec = Codec(vae, latents.mean((0, 2, 3)), latents.std((0, 2, 3)))
    if job.leads:
        save_weights(vae, job.out / "vae.safetensors")
        save_statistics(codec, job.out / "statistics.json")
    return codec


def reconstruction_quality(job: Job, codec: Codec, count: int = 96) -> dict[str, float]:
    """Signal-to-noise in dB on new pictures: over all of it, and over the figure."""
    from pictures import save_grid

    from whichlora.tinyworld.identity import sample_identities
    from whichlora.tinyworld.state import sample_states

    generator = torch.Generator(job.device).manual_seed(99)
    count = 8 if job.toy else count
    who = sample_identities(count, job.device, generator)
    pictures, masks = rendered(who, sample_states(count, job.device, generator), job)
    again, true = codec.decode(codec.encode(pictures)), pictures.float() / 255
    square = (again - true) ** 2
    whole = -10 * torch.log10(square.mean((1, 2, 3)))
    figure = -10 * torch.log10((square * masks).sum((1, 2, 3)) / (3 * masks.sum((1, 2, 3))))
    if job.leads:
        save_grid([x for pair in zip(true[:30], again[:30], strict=True) for x in pair], 12,
                  job.out / "vae.png")  # fmt: skip
    return {"whole_db": round(whole.mean().item(), 2), "figure_db": round(figure.mean().item(), 2)}
