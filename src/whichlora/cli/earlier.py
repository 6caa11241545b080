"""An earlier project to compare with, and metrics that a report may leave out of the decision."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from whichlora.errors import ProjectError, UnknownNameError, UserError
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.analysis.against import Project
    from whichlora.store import Store
    from whichlora.types import Plan


def earlier_project(folder: Path, own: Path, distrusted: Collection[str] = ()) -> Project:
    """Read the stored rows of an earlier project.

    Args:
        folder: Its project folder.
        own: Folder of the project that is reported.
        distrusted: Metrics that may not decide.

    Raises:
        ProjectError: There is no such project, it was never run, or it cannot be read.
        UserError: It is the project itself.
    """
    from whichlora.analysis.stage import read_project
    from whichlora.metrics.stage import scoring_context
    from whichlora.plan.codec import plan_from_json
    from whichlora.store import Store

    if not (folder / "store.sqlite").is_file():
        raise ProjectError(f"'{folder}' is no project with results: it has no store.sqlite.",
                           fix="Name the folder of an earlier project, such as: --against ../last-month")
    if folder.resolve() == own.resolve():
        raise UserError(f"'{folder}' is this project itself.", fix="Name the folder of an earlier project.")
    try:
        with Store(folder) as store:
            data = store.document("plan")
            if data is None:
                raise ProjectError(f"The project '{folder}' has no plan yet.",
                                   fix="Run it first: whichlora run PROJECT")
            plan = plan_from_json(data)
            return read_project(store, plan, context=scoring_context(plan), distrusted=distrusted)
    except sqlite3.DatabaseError as error:
        raise ProjectError(f"The store of the earlier project '{folder}' is damaged: {error}.",
                           fix=f"Save what can be saved with: whichlora doctor {quoted(folder)} --repair") from error
    except ProjectError as error:
        # PROJECT in a fix would otherwise be taken for the project that is reported.
        named = "" if str(folder) in error.message else f"The earlier project '{folder}': "
        raise ProjectError(named + error.message, fix=error.fix.replace("PROJECT", quoted(folder))) from error


def known_metrics(store: Store, plan: Plan, names: Collection[str]) -> Collection[str]:
    """The names, if each is a metric that decided something here.

    Raises:
        UnknownNameError: One is not.
    """
    if not names:
        return ()
    from whichlora.metrics.stage import scoring_context

    known = {score.metric for score in store.scores(context=scoring_context(plan)) if score.gate and not score.rater}
    for name in names:
        if name not in known:
            raise UnknownNameError("deciding metric", name, known)
    return tuple(names)
