"""The scoring process beside a run: `python -m whichlora.cli.scoring PROJECT`, told of finished pictures on its input.

No verb of its own: `metrics.beside.BesideScorer` starts it. It reads pictures and photographs, never the store: its
scores leave by standard output, so that the project keeps its single writer. It ends when its input does, which is when
its parent has heard enough, or is dead.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any


def main(folder: Path) -> int:
    """Score pictures as they are told."""
    # Ctrl-C in the terminal reaches this process too; its parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _private_stdout()
    if hasattr(os, "nice"):
        os.nice(10)  # the run goes first
    from whichlora.metrics.beside import follow
    from whichlora.metrics.stage import PictureScorer
    from whichlora.run.pictures import photograph_reader
    from whichlora.store.images import ImageFolder

    def answer(words: dict[str, Any]) -> None:
        answers.write(json.dumps(words, allow_nan=False) + "\n")
        answers.flush()

    images = ImageFolder(folder / "images")
    follow(sys.stdin, answer, lambda plan: PictureScorer(plan, images, photograph_reader(plan, folder)))
    return 0


def _private_stdout() -> IO[str]:
    """Keep stdout for answers; whatever a library prints goes to stderr."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stream


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
