"""Exact switching of LoRAs: every candidate is added to pristine weights, in fp32, and rounded once.

Switching back restores every bit, because nothing is ever subtracted: a touched weight is kept as the base had it.
Fusing and unfusing would not do: in bf16 it leaves traces of earlier candidates in the base.

A quantised weight (GGUF) cannot be added to without requantising it, so its change runs beside it as a branch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.errors import RefusedError
from whichlora.families._qwen.branches import Branches, dequantised, is_quantised
from whichlora.families._qwen.files import shape_of
from whichlora.lora.delta import CanonicalLora, CanonicalModule, load_canonical
from whichlora.types import AdapterUse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_RESERVE_BYTES = 8 << 30
"""Device memory left free for activations when pristine copies are kept on the device."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What an activation did."""

    modules_in_files: int
    """Changes in the files that are not zero, summed over adapters."""
    modules_changed: int
    """Of those, how many are in the working weights."""
    zero_modules: int
    """Changes that are exactly zero in the file (or by an adapter weight of 0)."""
    delta_rms: float
    """Size of the whole change relative to the weights it touches."""
    rounding_loss: float
    """Size of the error that rounding to the working format makes, relative to the change; 0 loses nothing."""


class Switcher:
    """Holds the pristine copies and makes one set of adapters active at a time."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts
        self._shape = shape_of(parts.places.location)
        self._parameters: dict[str, Any] = dict(parts.transformer.named_parameters())
        self._pristine: dict[str, Tensor] = {}
        self._active: set[str] = set()
        self._branches = Branches(parts.transformer)
        self._hashes: dict[tuple[str, int, int], str] = {}

    @property
    def kind(self) -> str:
        """'float32', 'bfloat16' or 'float16'; 'quantised' when the blocks' weights are."""
        if any(is_quantised(weight) for weight in self._parameters.values()):
            return "quantised"
        return str(self._parts.dtype).removeprefix("torch.")

    # ------------------------------------------------------------------ activate

    def activate(self, uses: tuple[AdapterUse, ...]) -> Applied:
        """Make exactly these adapters active.

        Raises:
            RefusedError: A file cannot be applied whole; the base's own weights are then in place.
        """
        import torch

        if torch.get_float32_matmul_precision() != "highest":
            torch.set_float32_matmul_precision("highest")
        self._branches.clear()
        try:
            with ExitStack() as files, torch.no_grad():
                changes = self._collect([(use, files.enter_context(self.load(use))) for use in uses])
                self._restore(self._active - set(changes))
                tally = _Tally()
                for name, parts in changes.items():
                    self._apply(name, parts, tally)
        except BaseException:
            self._branches.clear()
            self._restore(set(self._active))
            raise
        return tally.result()

    def load(self, use: AdapterUse) -> CanonicalLora:
        """Open an adapter's file in canonical form, after making sure that it is the file that was planned.

        Raises:
            RefusedError: The file is missing, was replaced, or does not fit this base.
        """
        path = Path(use.path)
        if not path.is_file():
            raise RefusedError(f"The LoRA '{use.name}' is no longer at '{path}'.", fix="Put it back, or plan again.")
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._hashes:
            with path.open("rb") as file:
                self._hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        if use.sha256 and self._hashes[key] != use.sha256:
            raise RefusedError(f"'{path}' is not the file that was planned as '{use.name}' (its SHA-256 differs).",
                               fix="Plan again, so that pictures of two files are not mixed under one name.")
        return load_canonical(path, self._shape)

    def _collect(
        self, opened: Iterable[tuple[AdapterUse, CanonicalLora]]
    ) -> dict[str, list[tuple[AdapterUse, CanonicalModule]]]:
        """Changes by parameter name, in the order of the adapters."""
        changes: dict[str, list[tuple[AdapterUse, CanonicalModule]]] = {}
        for use, lora in opened:
            for module in lora:
                name = f"{module.name}.{module.parameter}"
                if name not in self._parameters:
                    raise RefusedError(f"The model has no parameter '{name}', which the LoRA '{use.name}' adapts.")
                changes.setdefault(name, []).append((use, module))
        return changes

    def _apply(self, name: str, parts: list[tuple[AdapterUse, CanonicalModule]], tally: _Tally) -> None:
        """Write pristine + Σ changes into a working weight, or hang the changes beside a quantised one."""
        import torch

        weight = self._parameters[name]
        base = self._base(name)
        if is_quantised(weight):
            self._branches.add(name, [(use.weight, module) for use, module in parts], base, self._parts.dtype)
            deltas = self._branches.deltas(name)
            for delta in deltas:
                tally.add(base, delta, base + delta, torch.ones((), dtype=torch.bool))
            return
        self._active.add(name)
        deltas = [_change(module, base) * use.weight for use, module in parts]
        total = deltas[0] if len(deltas) == 1 else torch.stack(deltas).sum(0)
        wanted = (base + total).to(weight.dtype)
        weight.copy_(wanted)
        written = torch.equal(weight, wanted)
        for delta in deltas:
            tally.add(base, delta, None, torch.tensor(written))
        tally.add_rounding(total, weight.float() - base)
        if not bool(torch.isfinite(wanted).all()):
            raise RefusedError(f"With it the weight '{name}' is not finite in {self.kind}.",
                               fix="Lower its adapter weight.")

    def _base(self, name: str) -> Tensor:
        """Pristine values of a parameter in fp32 on the device; keeps a copy before the first change."""
        weight = self._parameters[name]
        if is_quantised(weight):
            return dequantised(weight)
        if name not in self._pristine:
            self._pristine[name] = self._kept(weight)
        return self._pristine[name].to(weight.device).float()

    def _kept(self, weight: Any) -> Tensor:
        """A copy of a weight, on its device while memory lasts, else in host memory."""
        import torch

        if weight.is_cuda:
            free, _ = torch.cuda.mem_get_info(weight.device)
            if free < _RESERVE_BYTES + weight.numel() * weight.element_size():
                return weight.detach().cpu().clone()
        return weight.detach().clone()

    def _restore(self, names: set[str]) -> None:
        import torch

        with torch.no_grad():
            for name in names:
                self._parameters[name].copy_(self._pristine[name])
        self._active -= names

    # ------------------------------------------------------------------ what the load gate asks

    def touched(self) -> tuple[str, ...]:
        """Labels of parameters that differ from the base now."""
        import torch

        changed = [name for name in self._active if not torch.equal(
            self._parameters[name], self._pristine[name].to(self._parameters[name].device))]
        return tuple(sorted(_label(name) for name in (*changed, *self._branches.names())))

    def pristine(self, label: str) -> NDArray[np.float32]:
        """A parameter as the base has it, in fp32."""
        name = self._name(label)
        kept = self._pristine.get(name, self._parameters[name])
        return _array(dequantised(kept) if is_quantised(kept) else kept)

    def working(self, label: str) -> NDArray[np.float32]:
        """A parameter as it works now, in fp32; beside a quantised weight, with its branches."""
        name = self._name(label)
        weight = self._parameters[name]
        if not is_quantised(weight):
            return _array(weight)
        value = dequantised(weight)
        for delta in self._branches.deltas(name):
            value = value + delta
        return _array(value)

    def weights_hash(self) -> str:
        """SHA-256 over names and bytes of every parameter, and over active branches."""
        import torch

        digest = hashlib.sha256()
        for name, weight in self._parameters.items():
            digest.update(name.encode())
            plain = weight.as_tensor() if is_quantised(weight) else weight
            digest.update(plain.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        for name in self._branches.names():
            digest.update(name.encode())
            for delta in self._branches.deltas(name):
                digest.update(_array(delta).tobytes())
        return digest.hexdigest()

    def _name(self, label: str) -> str:
        return label if label.endswith(".bias") else f"{label}.weight"


class _Tally:
    """Sums over the modules of one activation; kept on the device, so that the host waits once."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._rounding: list[Tensor] = []

    def add(self, base: Tensor, delta: Tensor, working: Tensor | None, written: Tensor) -> None:
        """Count one change: its size, the weight's, and whether it is in place."""
        import torch

        size = delta.square().sum()
        self._rows.append(torch.stack([size, base.square().sum(), written.to(size)]))
        if working is not None:
            self.add_rounding(delta, working - base)

    def add_rounding(self, wanted: Tensor, got: Tensor) -> None:
        """Note how far the working change is from the wanted one."""
        import torch

        self._rounding.append(torch.stack([wanted.square().sum(), (got - wanted).square().sum()]))

    def result(self) -> Applied:
        """Bring the sums to the host."""
        import torch

        if not self._rows:
            return Applied(0, 0, 0, 0.0, 0.0)
        rows = torch.stack(self._rows).double().cpu()
        rounding = torch.stack(self._rounding).double().sum(0).cpu()
        alive = rows[:, 0] > 0
        size, weights = float(rows[:, 0].sum()), float(rows[:, 1].sum())
        return Applied(
            modules_in_files=int(alive.sum()),
            modules_changed=int((alive & (rows[:, 2] > 0)).sum()),
            zero_modules=int((~alive).sum()),
            delta_rms=(size / weights) ** 0.5 if weights > 0 else 0.0,
            rounding_loss=float((rounding[1] / rounding[0]) ** 0.5) if float(rounding[0]) > 0 else 0.0,
        )


def _change(module: CanonicalModule, base: Tensor) -> Tensor:
    """One change in fp32 on the base's device, at the strength that its file states."""
    import torch

    factors = module.factors()
    if factors is None:
        delta = module.delta(_array(base) if module.needs_weight else None)
        return torch.from_numpy(delta).to(base.device)
    up, down, scale = factors
    return (torch.from_numpy(up).to(base.device) @ torch.from_numpy(down).to(base.device)) * scale


def _array(weight: Any) -> NDArray[np.float32]:
    return weight.detach().float().cpu().numpy()


def _label(name: str) -> str:
    return name.removesuffix(".weight")
