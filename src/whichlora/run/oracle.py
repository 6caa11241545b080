"""The load gate's weight oracle: every changed value against what the files say, in float64.

The reference (`comparing.py`) is in numpy, for families that show their weights as arrays. Where a session shows
tensors, the same comparison runs where they lie (`oracle_torch.py`) and only its sums come to the host: at the true
size 20 billion values are compared, and tests hold both against each other. The expected change is worked out from the
file alone; nothing of the code that applied it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from whichlora.errors import RefusedError
from whichlora.run.comparing import Comparison, Parts, compare
from whichlora.types import AdapterUse, Candidate

RELATIVE_ERROR = 1e-3
"""Largest ‖found − expected‖ / ‖ΔW‖ of a module in fp32."""
BRANCH_ERROR = 1e-2
"""The same where a branch runs beside a quantised weight, whose factors are rounded to bf16."""
_TOGETHER = 14
"""Modules compared before the host asks for the result: the linear layers of a block."""


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """Result of the weight oracle."""

    precision: str
    """Format of the working weights."""
    worst_error: float
    """See `admit.AdmitReport`, as for the next ones."""
    worst_module: str
    undecided: int
    """`AdmitReport.undecided_values`."""
    rounding_loss: float


def check_weights(session: Any, candidate: Candidate) -> WeightCheck:
    """Compare every working weight with what the files say, for the candidate that is active now.

    Raises:
        RefusedError: A module differs, or one changed that no file names.
    """
    precision = str(session.weight_dtype())
    worst, undecided, wanted_size, lost = (0.0, ""), 0, 0.0, 0.0
    with ExitStack() as files:
        expected = _expected(session, (*candidate.applied, *candidate.sampler.adapters), files)
        stray = _strays(session, expected)
        if stray:
            raise RefusedError(f"The module '{stray[0]}' changed although no file of '{candidate.name}' names it.")
        for label, found in _compared(session, expected, precision):
            wanted_size += found.wanted
            lost += found.lost
            undecided += found.undecided
            worst = max(worst, (found.error, label))
            allowed = BRANCH_ERROR if precision == "quantised" else RELATIVE_ERROR
            if not found.error <= allowed or found.wrong:
                how = (f"{found.wrong:,} of its values are not round(W + ΔW)" if found.wrong
                       else f"its change is off by {found.error:.2g} of its size")
                raise RefusedError(
                    f"The module '{label}' does not hold what the file says: {how}. A damaged LoRA would be measured "
                    "under its name."
                )
    loss = (lost / wanted_size) ** 0.5 if wanted_size > 0 else 0.0
    return WeightCheck(precision, worst[0], worst[1], undecided, loss)


def _expected(session: Any, uses: Sequence[AdapterUse], files: ExitStack) -> dict[str, Parts]:
    """Adapter weight and canonical module of every change, by label."""
    expected: dict[str, Parts] = {}
    for use in uses:
        for module in files.enter_context(session.load_adapter(use)):
            label = module.name if module.parameter == "weight" else f"{module.name}.{module.parameter}"
            expected.setdefault(label, []).append((use.weight, module))
    return expected


def _strays(session: Any, expected: Mapping[str, Parts]) -> list[str]:
    """Changed modules that no file names. Those that one names are compared value by value anyway."""
    if hasattr(session, "touched_beyond"):
        return sorted(session.touched_beyond(expected.keys()))
    return sorted(set(session.touched()) - set(expected))


def _compared(session: Any, expected: Mapping[str, Parts], precision: str) -> Iterator[tuple[str, Comparison]]:
    """Every module's comparison, made where its weights lie if the session shows tensors."""
    if not hasattr(session, "tensors"):
        for label, parts in expected.items():
            yield label, compare(session.pristine(label), session.weights(label), parts, precision)
        return
    from whichlora.run import oracle_torch

    left = iter(expected.items())
    while some := list(islice(left, _TOGETHER)):
        sums = [(label, oracle_torch.sums(session, label, parts, precision)) for label, parts in some]
        # Queued until now: reading the next module's factors hid behind the arithmetic of the one before.
        for label, found in sums:
            yield label, found()
