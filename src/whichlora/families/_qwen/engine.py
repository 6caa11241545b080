"""The fast forward of the transformer for the denoising loop, over a store of weights.

A step asks for several forwards at once (with and without the instruction, of one picture or several); the fast
engine runs all of them in one visit of the blocks, so that a block which passes through the device is used for all.
What does not change between steps is computed once: the instruction's and the references' embeddings, rotary tables,
and every block's modulations for the whole schedule of noise levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as functional

from whichlora.families._qwen import fused, kernels
from whichlora.families._qwen.attention_order import attention_order
from whichlora.families._qwen.fast import BlockWeights, Extra, Kept, block_forward, rotation
from whichlora.families._qwen.shortcuts import NONE, Shortcuts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from whichlora.families._qwen.calls import Call
    from whichlora.families._qwen.linear import Dense
    from whichlora.families._qwen.weights import Store


_PROGRAMS = 256
"""Programs of the compiled block that may be kept: several for each size of pictures."""


@dataclass(eq=False)
class _Constant:
    """What one picture and instruction keep over the steps."""

    text: Tensor
    references: Tensor | None
    tables: tuple[Tensor, Tensor]
    mask: Tensor | None
    kept: dict[int, Kept] = field(default_factory=dict)
    """Block → keys and values of the references, where they are reused."""
    residual: tuple[Tensor, Tensor] | None = None
    """What the cached blocks added at the last whole step, to the image and the text stream."""


@dataclass(eq=False)
class _Running:
    """A forward under way."""

    call: Call
    constant: _Constant
    img: Tensor
    txt: Tensor
    tables: tuple[Tensor, Tensor, Tensor | None]
    capture: int
    before: tuple[Tensor, Tensor] | None = None


class FastEngine:
    """See the module. On CUDA by own kernels; compiled, with a note, where they fail, and eager where that fails."""

    name = "fast"

    def __init__(self, model: Any, store: Store, *, compiled: bool | Any, shortcuts: Shortcuts = NONE) -> None:
        """Take a model and the store that holds its blocks.

        Args:
            model: Diffusers' transformer: embedders, final projection and configuration.
            store: Where the blocks' weights are.
            compiled: True, False, or a backend of torch.compile (tests).
            shortcuts: Near-lossless speed-ups.
        """
        self._model = model
        self._store = store
        self._heads = model.config.num_attention_heads
        self._zero = bool(getattr(model, "zero_cond_t", False))
        self._shortcuts = shortcuts
        self._attend = functional.scaled_dot_product_attention
        if shortcuts.attention_8bit:
            from whichlora.families._qwen.attention8 import attention_8bit

            self._attend = attention_8bit
        self.notes: list[str] = []
        """Sentences about what was not possible."""
        attend = self._attend

        def run_block(img: Tensor, txt: Tensor, *rest: Any) -> Any:
            return block_forward(img, txt, *rest, attend=attend)

        head = model.config.attention_head_dim
        self._kernels = compiled is True and kernels.usable(store.device, model.dtype, head)
        self._eager = run_block
        self._run: Callable[..., Any] = self._eager
        self._compiled = bool(compiled)
        # The load gate's small probes are not worth a program of their own.
        self._least_tokens = 1024 if compiled is True else 0
        if compiled:
            backend = by_rule() if compiled is True else {"backend": compiled}
            self._run = torch.compile(self._eager, fullgraph=True, **backend)
        self._levels: Tensor | None = None
        self._rows: list[tuple[Tensor, Tensor]] = []
        self._final: Tensor | None = None
        self._constants: dict[object, _Constant] = {}

    # ------------------------------------------------------------------ what is computed once

    def begin(self, levels: Tensor) -> None:
        """Compute every block's modulations for a schedule of noise levels, with the weights that are active now."""
        self._constants.clear()
        if self._levels is not None and self._levels.shape == levels.shape and torch.equal(self._levels, levels):
            return
        self._levels = levels
        model = self._model
        count = len(levels)
        rows = torch.cat([levels, levels * 0]) if self._zero else levels
        like = torch.empty(0, dtype=levels.dtype, device=levels.device)
        embedded = model.time_text_embed(rows, like)
        active = functional.silu(embedded)
        self._rows = []

        def work(_: int, image: Dense, text: Dense) -> None:
            img = functional.linear(active, image.weight, image.bias)
            # rows of a step side by side: its level, and with 2511 also that of the references, which is 0
            img = img.view(len(img) // count, count, -1).transpose(0, 1).contiguous()
            self._rows.append((img, functional.linear(active[:count], text.weight, text.bias)))

        self._store.modulations(work)
        self._final = model.norm_out.linear(model.norm_out.silu(embedded[:count]).to(levels.dtype))

    def invalidate(self) -> None:
        """Weights changed: what was computed from them no longer holds."""
        self._levels = None
        self._rows.clear()
        self._constants.clear()

    def _constant(self, call: Call) -> _Constant:
        found = self._constants.get(call.key)
        if found is None:
            model = self._model
            text = model.txt_in(model.txt_norm(call.text))
            references = torch.cat([model.img_in(each) for each in call.references], dim=1) if call.references else None
            tables = rotation(model, call.shapes, text.shape[1], text.device)
            mask = None
            if self._zero:
                noisy = call.latents.shape[1]
                mask = (torch.arange(tables[1].shape[1], device=text.device) >= noisy).unsqueeze(-1)
            found = self._constants[call.key] = _Constant(text, references, tables, mask)
        return found

    def _modulation(self, index: int, step: int) -> tuple[Tensor, Tensor]:
        image, text = self._rows[index]
        return image[step], text[step: step + 1]

    # ------------------------------------------------------------------ a step

    def forward(self, calls: Sequence[Call], step: int) -> list[Tensor]:
        """Velocities of the noisy tokens, for each call, in one visit of the blocks."""
        if self._levels is None:
            raise RuntimeError("begin() was not called")
        count = len(self._levels)
        running = [self._enter(call, step) for call in calls]
        skipped = self._shortcuts.skipped_blocks(self._store.blocks, step, count)
        skipped = skipped if all(_has_residual(each) for each in running) else range(0)
        cached = self._shortcuts.cached_blocks(self._store.blocks)

        def work(index: int, weights: BlockWeights) -> None:
            if index in skipped:
                if index == skipped[0]:
                    for each in running:
                        self._add_residual(each)
                return
            if cached and index == cached[0]:
                for each in running:
                    each.before = each.img, each.txt
            self._advance(running, index, weights, self._modulation(index, step))
            if cached and index == cached[-1]:
                for each in running:
                    self._note_residual(each)

        with attention_order(self._levels.device):
            self._store.visit(work)
        return [self._leave(each, step) for each in running]

    def _enter(self, call: Call, step: int) -> _Running:
        constant = self._constant(call)
        tokens = self._model.img_in(call.latents)
        noisy = tokens.shape[1]
        tables: tuple[Tensor, Tensor, Tensor | None] = (*constant.tables, constant.mask)
        capture = 0
        if constant.references is not None and self._shortcuts.reference_every > 1:
            if constant.kept and not self._shortcuts.computes_references(step, len(self._rows_levels())):
                mask = None if constant.mask is None else constant.mask[:noisy]
                return _Running(call, constant, tokens, constant.text,
                                (constant.tables[0], constant.tables[1][:, :noisy], mask), 0)
            capture = constant.references.shape[1]
        if constant.references is not None:
            tokens = torch.cat([tokens, constant.references], dim=1)
        return _Running(call, constant, tokens, constant.text, tables, capture)

    def _rows_levels(self) -> Tensor:
        if self._levels is None:
            raise RuntimeError("begin() was not called")
        return self._levels

    def _advance(
        self, running: Sequence[_Running], index: int, weights: BlockWeights, modulation: tuple[Tensor, Tensor]
    ) -> None:
        """Take every forward through one block: by the kernels where they serve, else each by itself."""
        extras = [self._extra(each, index) for each in running]
        found = self._by_kernels(running, extras, weights, modulation)
        if found is None:
            found = [self._block(each.img, each.txt, modulation, each.tables, weights, extra)
                     for each, extra in zip(running, extras, strict=True)]
        for each, (img, txt, captured) in zip(running, found, strict=True):
            each.img, each.txt = img, txt
            if captured is not None:
                each.constant.kept[index] = captured

    def _extra(self, each: _Running, index: int) -> Extra:
        reuse = each.capture == 0 and bool(each.constant.kept)
        noisy = each.call.latents.shape[1]
        only = noisy if index == self._store.blocks - 1 else 0
        return Extra(self._heads, each.capture, each.constant.kept[index] if reuse else None, noisy, only)

    def _by_kernels(
        self, running: Sequence[_Running], extras: Sequence[Extra], weights: BlockWeights,
        modulation: tuple[Tensor, Tensor],
    ) -> Any:
        """One block, a picture's forwards at once; None where the kernels do not serve, or have failed once."""
        if not self._kernels or not fused.suits(weights):
            return None
        if any(each.img.shape[1] < self._least_tokens or len(each.img) > 1 for each in running):
            return None
        found: list[Any] = []
        try:
            # Only forwards of one picture share products: with another picture's text beside its own, a product has
            # more rows, for which the library may sum in another order, and a picture must not depend on its neighbour.
            for _, group in groupby(zip(running, extras, strict=True), key=lambda pair: pair[0].call.picture):
                streams = [fused.Stream(each.img, each.txt, each.tables[:2], extra) for each, extra in group]
                found += fused.fused_block(streams, modulation, weights, self._attend)
            return found
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self._kernels = False
            self.notes.append(f"The kernels failed ({_reason(error)}), so blocks are compiled instead: the same "
                              "formulas, slower.")
            return None

    def _block(self, img: Tensor, txt: Tensor, *rest: Any) -> Any:
        """One block for one forward; when compiling fails, eager from now on."""
        if img.shape[1] < self._least_tokens:
            return self._eager(img, txt, *rest)
        if not self._compiled:
            return self._eager(img, txt, *rest)
        # Instructions differ in length: told so, the compiler makes one program for all of them.
        torch._dynamo.maybe_mark_dynamic(txt, 1)
        torch._dynamo.maybe_mark_dynamic(rest[1][0], 1)
        try:
            # A size of pictures gets a program of its own. Left alone, the compiler makes the second size's program
            # serve all later ones, and which bits a picture gets would depend on what was made before it.
            with torch._dynamo.config.patch(automatic_dynamic_shapes=False, recompile_limit=_PROGRAMS):
                return self._run(img, txt, *rest)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self.notes.append(f"Compiling failed ({_reason(error)}), so blocks run uncompiled: the same arithmetic, "
                              "slower.")
            self._compiled = False
            return self._eager(img, txt, *rest)

    @staticmethod
    def _note_residual(each: _Running) -> None:
        if each.before is not None:
            each.constant.residual = each.img - each.before[0], each.txt - each.before[1]
            each.before = None

    @staticmethod
    def _add_residual(each: _Running) -> None:
        if each.constant.residual is not None:
            img, txt = each.constant.residual
            each.img, each.txt = each.img + img[:, : each.img.shape[1]], each.txt + txt

    def _leave(self, each: _Running, step: int) -> Tensor:
        if self._final is None:
            raise RuntimeError("begin() was not called")
        noisy = each.call.latents.shape[1]
        scale, shift = self._final[step: step + 1].chunk(2, dim=1)
        out = self._model.norm_out.norm(each.img[:, :noisy]) * (1 + scale)[:, None, :] + shift[:, None, :]
        return self._model.proj_out(out)

    def way(self) -> str:
        """By what blocks are computed now."""
        return "kernels" if self._kernels else "compiled" if self._compiled else "eager"

    def facts(self) -> dict[str, Any]:
        """What a report may say of it."""
        found: dict[str, Any] = {
            "engine": self.name, "forward": self.way(), "compiled": self._compiled, **self._store.facts()}
        if self._shortcuts != NONE:
            found["shortcuts"] = self._shortcuts.text()
        return found


def by_rule() -> dict[str, Any]:
    """Options of torch.compile that forbid choosing a kernel by trial runs where that could change sums."""
    from torch._inductor import config

    return {"options": {"deterministic": True}} if hasattr(config, "deterministic") else {}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _has_residual(each: _Running) -> bool:
    """Whether the cached blocks' contribution is known for every token of this forward."""
    residual = each.constant.residual
    return residual is not None and residual[0].shape[1] >= each.img.shape[1]
