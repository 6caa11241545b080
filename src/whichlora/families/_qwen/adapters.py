"""Exact switching of LoRAs: every candidate is added to pristine weights, in fp32, and rounded once.

Switching back restores every bit, because nothing is ever subtracted: a touched weight is kept as the base had it.
Fusing and unfusing would not do: in bf16 it leaves traces of earlier candidates in the base.

A quantised weight (GGUF) cannot be added to without requantising it, so its change runs beside it as a branch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.errors import RefusedError
from whichlora.families._qwen.branches import Branches, dequantised, is_quantised
from whichlora.families._qwen.files import shape_of
from whichlora.families._qwen.prefetch import Factors, Prefetcher
from whichlora.lora.delta import CanonicalLora, CanonicalModule, load_canonical
from whichlora.types import AdapterUse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from whichlora.families._qwen.changes import Change
    from whichlora.families._qwen.patches import Tally
    from whichlora.families._qwen.weights import Store

_Part = tuple[AdapterUse, CanonicalModule, Factors | None]
"""One change: who wants it, where it is read, and its factors if they were read ahead."""


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
    """Makes one set of adapters active at a time in the weights of a store."""

    def __init__(self, parts: Any, store: Store) -> None:
        self._parts = parts
        self._store = store
        self._shape = shape_of(parts.places.location)
        self._active: set[str] = set()
        self._branches = Branches(parts.transformer)
        self._hashes: dict[tuple[str, int, int], str] = {}
        self._ahead = Prefetcher(self.load, pin=store.device.type == "cuda")
        self._known = frozenset(store.names)

    @property
    def kind(self) -> str:
        """'float32', 'bfloat16' or 'float16'; 'quantised' when the blocks' weights are."""
        if any(is_quantised(weight) for weight in self._parts.transformer.parameters()):
            return "quantised"
        return str(self._parts.dtype).removeprefix("torch.")

    # ------------------------------------------------------------------ activate

    def prefetch(self, uses: tuple[AdapterUse, ...]) -> None:
        """Read adapters that will be wanted next, in the background; a file that cannot be read is refused later."""
        self._ahead.start(uses)

    def activate(self, uses: tuple[AdapterUse, ...]) -> Applied:
        """Make exactly these adapters active.

        Raises:
            RefusedError: A file cannot be applied whole; the base's own weights are then in place.
        """
        import torch

        from whichlora.families._qwen.patches import Tally

        self._branches.clear()
        self._store.begin()
        tally, written = Tally(), set[str]()
        try:
            # Stores keep what is made here: tensors of inference mode could not be written to later.
            with ExitStack() as files, torch.inference_mode(False), torch.no_grad():
                opened = [(use, files.enter_context(self.load(use)), self._ahead.take(use)) for use in uses]
                changes = self._collect(opened)
                self._restore(self._active - set(changes))
                for name, parts in changes.items():
                    if self._apply(name, parts, tally):
                        written.add(name)
                self._refuse_infinite(tally)
                self._store.settle()
        except BaseException:
            self._branches.clear()
            with torch.inference_mode(False):
                self._restore(set(self._active))
                self._store.settle()
            raise
        return _applied(tally, written)

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
        self, opened: Iterable[tuple[AdapterUse, CanonicalLora, Mapping[str, Factors]]]
    ) -> dict[str, list[_Part]]:
        """Changes by parameter name, in the order of the adapters."""
        changes: dict[str, list[_Part]] = {}
        for use, lora, ahead in opened:
            for module in lora:
                name = f"{module.name}.{module.parameter}"
                if name not in self._known:
                    raise RefusedError(f"The model has no parameter '{name}', which the LoRA '{use.name}' adapts.")
                changes.setdefault(name, []).append((use, module, ahead.get(name)))
        return changes

    def _apply(self, name: str, parts: list[_Part], tally: Tally) -> bool:
        """Make pristine + Σ changes the working weight, or hang the changes beside a quantised one."""
        from whichlora.families._qwen.patches import merge

        weight = self._store.base(name)
        if is_quantised(weight):
            return self._apply_beside(name, parts, dequantised(weight), tally)
        self._active.add(name)
        patch = tuple(_change(use.weight, module, ahead, weight) for use, module, ahead in parts)
        wanted = merge(weight, patch, count=(tally, name))
        return self._store.put(name, wanted, patch)

    def _apply_beside(self, name: str, parts: list[_Part], base: Tensor, tally: Tally) -> bool:
        self._branches.add(name, [(use.weight, module) for use, module, _ in parts], base, self._parts.dtype)
        deltas = self._branches.deltas(name)
        tally.add(name, base, deltas, base + sum(deltas))
        return True

    def _refuse_infinite(self, tally: Tally) -> None:
        import torch

        if not tally.finite or bool(torch.stack(list(tally.finite.values())).min() > 0):
            return
        name = next(name for name, finite in tally.finite.items() if not float(finite) > 0)
        raise RefusedError(f"With it the weight '{name}' is not finite in {self.kind}.",
                           fix="Lower its adapter weight.")

    def _restore(self, names: set[str]) -> None:
        self._store.restore(names)
        self._active -= names

    # ------------------------------------------------------------------ what the load gate asks

    def touched(self) -> tuple[str, ...]:
        """Labels of parameters that differ from the base now."""
        import torch

        changed = [name for name in self._active if not torch.equal(*self._store.both(name))]
        return tuple(sorted(_label(name) for name in (*changed, *self._branches.names())))

    def touched_beyond(self, labels: Container[str]) -> tuple[str, ...]:
        """The same without these labels, whose weights are then not looked at."""
        import torch

        changed = [
            name for name in self._active if _label(name) not in labels and not torch.equal(*self._store.both(name))
        ]
        branches = [name for name in self._branches.names() if _label(name) not in labels]
        return tuple(sorted(_label(name) for name in (*changed, *branches)))

    def tensors(self, label: str) -> tuple[Tensor, Tensor]:
        """A parameter as the base has it and as it works now, on the device. Not to be written to.

        Of a quantised parameter the numbers in fp32, the second with its branches.
        """
        name = self._name(label)
        base, working = self._store.both(name)
        if not is_quantised(base):
            return base, working
        plain = dequantised(base)
        value = dequantised(working)
        for delta in self._branches.deltas(name):
            value = value + delta
        return plain, value

    def pristine(self, label: str) -> NDArray[np.float32]:
        """A parameter as the base has it, in fp32."""
        weight = self._store.base(self._name(label))
        return _array(dequantised(weight) if is_quantised(weight) else weight)

    def working(self, label: str) -> NDArray[np.float32]:
        """A parameter as it works now, in fp32; beside a quantised weight, with its branches."""
        name = self._name(label)
        weight = self._store.working(name)
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
        for name in self._store.names:
            digest.update(name.encode())
            weight: Any = self._store.working(name)
            plain = weight.as_tensor() if is_quantised(weight) else weight
            digest.update(plain.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        for name in self._branches.names():
            digest.update(name.encode())
            for delta in self._branches.deltas(name):
                digest.update(_array(delta).tobytes())
        return digest.hexdigest()

    def _name(self, label: str) -> str:
        return label if label.endswith(".bias") else f"{label}.weight"


def _applied(tally: Tally, written: set[str]) -> Applied:
    """Bring the sums to the host."""
    import torch

    if not tally.changes:
        return Applied(0, 0, 0, 0.0, 0.0)
    rows = torch.stack(list(tally.changes.values())).double().cpu()
    rounding = torch.stack(list(tally.rounding.values())).double().sum(0).cpu()
    alive = rows[:, 0] > 0
    placed = torch.tensor([name in written for name, _ in tally.changes])
    size, weights = float(rows[:, 0].sum()), float(rows[:, 1].sum())
    return Applied(
        modules_in_files=int(alive.sum()),
        modules_changed=int((alive & placed).sum()),
        zero_modules=int((~alive).sum()),
        delta_rms=(size / weights) ** 0.5 if weights > 0 else 0.0,
        rounding_loss=float((rounding[1] / rounding[0]) ** 0.5) if float(rounding[0]) > 0 else 0.0,
    )


def _change(strength: float, module: CanonicalModule, ahead: Factors | None, base: Tensor) -> Change:
    """One change in fp32 on the base's device, at the strength that its file states."""
    import torch

    from whichlora.families._qwen.changes import Change

    if ahead is not None:
        up, down, scale = ahead
        return Change(strength, up.to(base.device, non_blocking=True), down.to(base.device, non_blocking=True), scale)
    factors = module.factors()
    if factors is None:
        delta = module.delta(_array(base) if module.needs_weight else None)
        return Change(strength, full=torch.from_numpy(delta).to(base.device))
    up_array, down_array, scale = factors
    return Change(strength, torch.from_numpy(up_array).to(base.device), torch.from_numpy(down_array).to(base.device),
                  scale)


def _array(weight: Any) -> NDArray[np.float32]:
    return weight.detach().float().cpu().numpy()


def _label(name: str) -> str:
    return name.removesuffix(".weight")
