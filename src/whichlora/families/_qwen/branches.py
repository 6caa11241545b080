"""LoRA branches beside quantised (GGUF) weights: y = Q(W)·x + Σ s·B·(A·x).

The weight stays as it is on disk; only the branch is computed in the working format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whichlora.errors import RefusedError
from whichlora.lora.delta import CanonicalModule

if TYPE_CHECKING:
    from torch import Tensor


def is_quantised(weight: Any) -> bool:
    """Whether a parameter holds packed GGUF blocks and not numbers."""
    return hasattr(weight, "quant_type") and str(weight.dtype) == "torch.uint8"


def dequantised(weight: Any) -> Tensor:
    """Numbers of a GGUF parameter in fp32, on its device."""
    from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

    return dequantize_gguf_tensor(weight).float()


class Branches:
    """The branches that are active, by parameter name."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._pairs: dict[str, list[tuple[Any, Any]]] = {}
        self._handles: list[Any] = []

    def add(self, name: str, changes: list[tuple[float, CanonicalModule]], base: Tensor, dtype: Any) -> None:
        """Hang changes (adapter weight, module) beside a quantised weight.

        Raises:
            RefusedError: The parameter is no linear layer's weight.
        """
        import torch

        owner, _, parameter = name.rpartition(".")
        layer = self._model.get_submodule(owner)
        if parameter != "weight" or not isinstance(layer, torch.nn.Linear):
            raise RefusedError(f"A change of '{name}' cannot run beside a quantised weight.",
                               fix="Use the bf16 transformer.")
        pairs: list[tuple[Any, Any]] = []
        for strength, module in changes:
            factors = module.factors()
            if factors is None:
                delta = module.delta(base.cpu().numpy() if module.needs_weight else None)
                pairs.append(((torch.from_numpy(delta) * strength).to(base.device, dtype), None))
            else:
                up, down, scale = factors
                up_tensor = torch.from_numpy(up) * (scale * strength)
                pairs.append((up_tensor.to(base.device, dtype), torch.from_numpy(down).to(base.device, dtype)))
        self._pairs[name] = pairs

        def run(_layer: Any, inputs: tuple[Any, ...], output: Any) -> Any:
            x = inputs[0].to(dtype)
            for up_factor, down_factor in pairs:
                inner = x if down_factor is None else x @ down_factor.T
                output = output + inner @ up_factor.T
            return output

        self._handles.append(layer.register_forward_hook(run))

    def names(self) -> tuple[str, ...]:
        """Parameters with a branch."""
        return tuple(self._pairs)

    def deltas(self, name: str) -> list[Tensor]:
        """What each branch of a parameter adds to its weight, in fp32."""
        return [
            up.float() if down is None else up.float() @ down.float() for up, down in self._pairs.get(name, [])
        ]

    def clear(self) -> None:
        """Take every branch away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._pairs.clear()
