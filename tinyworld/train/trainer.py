"""A training loop whose whole step is one CUDA graph, on one GPU or several."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from settings import Job
from torch import Tensor, nn

WARM_UP_STEPS = 4
TIMED_STEPS = 40


def schedule(progress: float, peak: float, warm: float = 0.03) -> float:
    """Linear warm-up, then a cosine down to almost nothing."""
    return peak * (min(1.0, progress / warm) * (0.5 + 0.5 * math.cos(math.pi * progress)) + 1e-4)


class GraphTrainer:
    """AdamW on `parameters` for the gradient of `loss`; gradients live in one flat buffer."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        loss: Callable[[], Tensor],
        job: Job,
        *,
        rate: float,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.97),
        shared: bool = True,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.loss, self.job, self.peak = loss, job, rate
        self.shared = shared and job.world > 1
        total = sum(p.numel() for p in self.parameters)
        self.gradient = torch.zeros(total, device=job.device)
        start = 0
        for parameter in self.parameters:
            parameter.grad = self.gradient[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        self.rate = torch.tensor(rate * 1e-2, device=job.device)
        extra = {} if job.toy else {"fused": True, "capturable": True}
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=rate * 1e-2 if job.toy else self.rate,
            betas=betas,
            weight_decay=weight_decay,
            **extra,
        )
        self._differentiate, self._update = self._eager_differentiate, self._eager_update
        self.captured = False

    def _eager_differentiate(self) -> Tensor:
        self.gradient.zero_()
        loss = self.loss()
        loss.backward()
        return loss.detach()

    def _eager_update(self) -> None:
        self.gradient.mul_((1.0 / (self.gradient.norm() + 1e-6)).clamp(max=1.0))
        self.optimizer.step()

    def step(self) -> Tensor:
        """One update; returns the loss (on the device)."""
        loss = self._differentiate()
        if self.shared:
            dist.all_reduce(self.gradient, op=dist.ReduceOp.AVG)
        self._update()
        return loss

    def capture(self) -> None:
        """Turn both halves of the step into CUDA graphs."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        forward, update = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(forward, capture_error_mode="thread_local"):
            captured = self._eager_differentiate()
        with torch.cuda.graph(update, pool=forward.pool(), capture_error_mode="thread_local"):
            self._eager_update()

        def differentiate() -> Tensor:
            forward.replay()
            return captured

        self._differentiate, self._update = differentiate, update.replay
        self.captured = True
        self.job.log("step captured")

    def run(self, seconds: float, name: str) -> dict[str, float]:
        """Train for about `seconds`; every process makes the same number of steps."""
        if self.job.toy:
            losses = [self.step().item() for _ in range(2)]
            self.job.log(name, loss=round(losses[-1], 4))
            return {"steps": 2, "loss": losses[-1], "ms": 0.0}
        if not self.captured:
            self.capture()
        began = time.time()
        for i in range(TIMED_STEPS):
            self.rate.fill_(schedule(i / 3000, self.peak))
            self.step()
        torch.cuda.synchronize()
        pace = (time.time() - began) / TIMED_STEPS
        planned = torch.tensor(max(TIMED_STEPS + 1.0, seconds / pace), device=self.job.device)
        if self.shared:
            dist.broadcast(planned, 0)
        total = int(planned.item())
        smooth = None
        for i in range(TIMED_STEPS, total):
            self.rate.fill_(schedule(i / total, self.peak))
            loss = self.step()
            if i % 20 == 0:
                value = loss.item()
                smooth = value if smooth is None else 0.95 * smooth + 0.05 * value
            if i % 2000 == 0:
                self.job.log(name, step=i, of=total, loss=round(smooth or 0.0, 4))
        torch.cuda.synchronize()
        milliseconds = 1000 * (time.time() - began) / total
        result = {"steps": total, "loss": round(smooth or 0, 4), "ms": round(milliseconds, 2)}
        self.job.log(name, **result)
        return result
