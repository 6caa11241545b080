"""Whether a run scores its pictures while it makes them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from whichlora.cli.output import progress_console
from whichlora.metrics.beside import BesideScorer
from whichlora.store import Store


@contextmanager
def scoring_beside(folder: Path, store: Store, device: str, wanted: bool | None) -> Generator[BesideScorer | None]:
    """A scorer beside the run, or None where there is to be none.

    Args:
        folder: The project.
        store: Its store, owned by this process.
        device: Where pictures are made.
        wanted: What the user said; None: only where a GPU makes the pictures. On a CPU both would want the same cores,
            so scoring beside would delay every picture by what it saves at the end.
    """
    if not (device != "cpu" if wanted is None else wanted):
        yield None
        return
    with BesideScorer(folder, store, lambda text: progress_console.print(text, markup=False)) as scorer:
        yield scorer
