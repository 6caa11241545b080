"""Exact switching in plain weights: pristine + Σ changes in fp32, rounded once; what was touched is put back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.errors import RefusedError
from whichlora.families._flux.loras import FluxChange, Shapes, open_changes
from whichlora.types import AdapterUse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class PlainSwitcher:
    """Makes one set of adapters active at a time."""

    def __init__(self, model: Any, shapes: Shapes) -> None:
        self._parameters: dict[str, Any] = dict(model.named_parameters())
        self._shapes = shapes
        self._pristine: dict[str, Tensor] = {}
        self._active: set[str] = set()

    def load(self, use: AdapterUse) -> AbstractContextManager[tuple[FluxChange, ...]]:
        """Open an adapter's file, after making sure that it is the one that was planned.

        Raises:
            RefusedError: It is missing, was replaced, or does not fit.
        """
        path = Path(use.path)
        if not path.is_file():
            raise RefusedError(f"The LoRA '{use.name}' is no longer at '{path}'.", fix="Put it back, or plan again.")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if use.sha256 and found != use.sha256:
            raise RefusedError(f"'{path}' is not the file that was planned as '{use.name}' (its SHA-256 differs).",
                               fix="Plan again, so that pictures of two files are not mixed under one name.")
        return open_changes(path, self._shapes)

    def activate(self, uses: Sequence[AdapterUse]) -> Mapping[str, float]:
        """Make exactly these adapters active.

        Returns:
            'in_files' and 'changed' (changes that are not zero, and those of them that are in place), 'zero', and
            'delta_rms' (size of the change relative to the weights that it touches).

        Raises:
            RefusedError: A file cannot be applied; the base's own weights are then in place.
        """
        import torch

        tally = {"in_files": 0.0, "changed": 0.0, "zero": 0.0, "size": 0.0, "weights": 0.0}
        try:
            with ExitStack() as files, torch.no_grad():
                wanted: dict[str, list[tuple[float, FluxChange]]] = {}
                for use in uses:
                    for change in files.enter_context(self.load(use)):
                        wanted.setdefault(f"{change.name}.weight", []).append((use.weight, change))
                self._restore(self._active - set(wanted))
                for name, parts in wanted.items():
                    self._apply(name, parts, tally)
        except BaseException:
            self._restore(set(self._active))
            raise
        weights = tally.pop("weights")
        return {**tally, "delta_rms": (tally["size"] / weights) ** 0.5 if weights else 0.0}

    def _apply(self, name: str, parts: Sequence[tuple[float, FluxChange]], tally: dict[str, float]) -> None:
        import torch

        weight = self._parameters[name]
        if name not in self._pristine:
            self._pristine[name] = weight.detach().clone()
        base = self._pristine[name].float()
        deltas = []
        for strength, change in parts:
            up, down, scale = change.factors()
            delta = (torch.from_numpy(up).to(base.device) @ torch.from_numpy(down).to(base.device)) * (scale * strength)
            alive = bool(delta.any())
            tally["in_files"] += alive
            tally["zero"] += not alive
            tally["size"] += float(delta.square().sum())
            deltas.append((alive, delta))
        tally["weights"] += float(base.square().sum())
        target = (base + torch.stack([delta for _, delta in deltas]).sum(0)).to(weight.dtype)
        if not bool(torch.isfinite(target).all()):
            raise RefusedError(f"With it the weight '{name}' is not finite.", fix="Lower its adapter weight.")
        self._active.add(name)
        weight.copy_(target)
        if torch.equal(weight, target):
            tally["changed"] += sum(alive for alive, _ in deltas)

    def _restore(self, names: set[str]) -> None:
        import torch

        with torch.no_grad():
            for name in names:
                self._parameters[name].copy_(self._pristine[name])
        self._active -= names

    # ------------------------------------------------------------------ what the load gate asks

    def touched(self) -> tuple[str, ...]:
        """Modules that differ from the base now."""
        import torch

        return tuple(sorted(
            name.removesuffix(".weight") for name in self._active
            if not torch.equal(self._parameters[name], self._pristine[name])
        ))

    def pristine(self, module: str) -> NDArray[np.float32]:
        """A weight as the base has it, in fp32."""
        name = f"{module}.weight"
        kept: Any = self._pristine[name] if name in self._pristine else self._parameters[name]
        return kept.detach().float().cpu().numpy()

    def tensors(self, module: str) -> tuple[Tensor, Tensor]:
        """A weight as the base has it and as it works now, on the device, in the working format. Only to be read."""
        name = f"{module}.weight"
        now = self._parameters[name].detach()
        kept: Any = self._pristine.get(name, now)
        return kept, now

    def working(self, module: str) -> NDArray[np.float32]:
        """A weight as it works now, in fp32."""
        return self._parameters[f"{module}.weight"].detach().float().cpu().numpy()
