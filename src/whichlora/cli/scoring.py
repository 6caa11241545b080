"""The scoring process beside a run: `python -m whichlora.cli.scoring PROJECT`, told of finished cells on its input.

No verb of its own: `metrics.beside.BesideScorer` starts it. It writes scores only, so it needs no lease of the project.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(folder: Path) -> int:
    """Score cells as they are finished; end when told to, or when the parent dies."""
    from whichlora.metrics.beside import follow
    from whichlora.metrics.stage import PlanScorer
    from whichlora.plan.codec import plan_from_json
    from whichlora.run.pictures import photograph_reader
    from whichlora.store import Store

    if hasattr(os, "nice"):
        os.nice(5)  # the run goes first
    with Store(folder) as store:

        def scorer() -> PlanScorer | None:
            document = store.document("plan")
            if document is None:
                return None
            plan = plan_from_json(document)
            return PlanScorer(plan, store, photograph_reader(plan, folder))

        follow(sys.stdin, scorer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
