"""`whichlora doctor PROJECT`: is everything in a project what it says it is? With --repair, mend what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.cli._checks import print_checks
from whichlora.cli.output import answer_console, emit_json, progress_console
from whichlora.errors import MachineError, ProjectError, WhichloraError
from whichlora.machine.checks import Check
from whichlora.quoting import quoted, with_project

if TYPE_CHECKING:
    from whichlora.store.checkup import Checkup, Mended
    from whichlora.workspace import Workspace

_SHOWN = 3


def look(folder: Path, *, repair: bool, json: bool) -> None:
    """Check a project, mend it when asked, and leave with 1 when something stays wrong.

    Raises:
        ProjectError: It is no project, or --repair was asked while a run works there.
        MachineError: The disk refused.
    """
    from whichlora.workspace import Workspace

    workspace = Workspace.open(folder)
    with ExitStack() as stack:
        busy = ""
        try:
            stack.enter_context(workspace.owned())
        except ProjectError as error:
            if repair:
                raise
            busy = error.message
        except MachineError:
            if repair:
                raise  # a disk that cannot be written can still be looked at
        with progress_console.status("checking every picture"):
            mended = _mend(folder) if repair else None
            checks = [replace(check, fix=with_project(check.fix, quoted(folder)))
                      for check in project_checks(workspace, busy)]
    if json:
        emit_json("whichlora.doctor-project/1", {
            "project": str(folder), "ok": all(check.ok for check in checks),
            "checks": [
                {"name": check.name, "ok": check.ok, "found": check.found, "fix": check.fix or None}
                for check in checks
            ],
            "repair": _told(mended) if mended is not None else None,
        })
    else:
        print_checks(checks)
        for line in _sentences(mended) if mended is not None else ():
            answer_console.print(line, markup=False)
    if not all(check.ok for check in checks):
        raise SystemExit(1)


def _mend(folder: Path) -> Mended | None:
    from whichlora.store.checkup import mend

    anything = (folder / "store.sqlite").exists() or any((folder / "images").glob("??/*.png"))
    return mend(folder) if anything else None


def project_checks(workspace: Workspace, busy: str = "") -> list[Check]:
    """Every check of a project, in order."""
    from whichlora.lease import on_network_disk
    from whichlora.store.durable import free_bytes

    folder = workspace.folder
    free = free_bytes(folder)
    network = on_network_disk(folder)
    checks = [
        Check("owner", True, busy or "nobody works here"),
        Check("disk", free > 200_000_000, f"{free / 1e9:.1f} GB free" + (
            "; a network disk: a slower journal is used, and a run holds a lease" if network else ""),
              "" if free > 200_000_000 else "Free some space; a run waits for it."),
        _asked("suite", lambda: _suite(workspace), "Mend the line that it names."),
    ]
    if not (folder / "store.sqlite").exists():
        return [*checks, _no_store(folder)]
    try:
        from whichlora.store.checkup import look_over

        found = look_over(folder)
    except WhichloraError as error:
        return [*checks, Check("database", False, error.message, error.fix)]
    checks += _store_checks(folder, found)
    if not found.database:
        checks.append(_asked("plan and photographs", lambda: _plan(workspace),
                             "Run again: a new plan is made from the photographs as they are."))
    return checks


def _no_store(folder: Path) -> Check:
    """Without a database: either nothing was run, or pictures lie there whose rows are gone."""
    pictures = sum(1 for _ in (folder / "images").glob("??/*.png"))
    if pictures:
        return Check("database", False, f"there is none, but {pictures} pictures are here",
                     f"Put store.sqlite back if you have it; else: whichlora doctor {quoted(folder)} --repair")
    return Check("database", True, "nothing was run yet")


def _store_checks(folder: Path, found: Checkup) -> list[Check]:
    repair = f"whichlora doctor {quoted(folder)} --repair"
    if found.database:
        return [Check("database", False, f"damaged: {found.database}",
                      f"{repair}   (saves every row and picture that can be read)")]
    checks = [Check("database", True, "sound")]
    lost = [*found.missing, *found.damaged]
    if lost:
        words = " and ".join(
            f"{len(cells)} {word}" for cells, word in ((found.missing, "missing"), (found.damaged, "damaged")) if cells)
        checks.append(Check("pictures", False, f"{found.pictures} stored; {words}: {_some(lost)}",
                            f"{repair}   (or just run again: they are made again)"))
    else:
        checks.append(Check("pictures", True, f"{found.pictures} stored, every one as it was made"))
    if found.failed:
        checks.append(Check("failed cells", True, f"{found.failed}; the next run tries them again"))
    if found.stray_scores:
        checks.append(Check("scores", False, f"{found.stray_scores} of cells without a picture", repair))
    if found.rotten_orphans:
        checks.append(Check("unnamed pictures", False, f"{len(found.rotten_orphans)} damaged: "
                            f"{_some(found.rotten_orphans)}", repair))
    if found.orphans:
        checks.append(Check("unnamed pictures", True, f"{len(found.orphans)} that no row names; they do no harm",
                            f"{repair}   (moves them aside)"))
    if found.unfinished:
        checks.append(Check("leftovers", True, f"{len(found.unfinished)} half-written files of a killed run",
                            "the next run clears them away"))
    return checks


def _asked(name: str, question: Callable[[], str], fix: str) -> Check:
    """A check whose answer is words, or an error."""
    try:
        return Check(name, True, question())
    except WhichloraError as error:
        return Check(name, False, error.message, error.fix or fix)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Check(name, False, f"cannot be read ({type(error).__name__})", fix)


def _suite(workspace: Workspace) -> str:
    from whichlora.suite.loading import load_suite

    suite = load_suite(workspace.suite_path)
    return f"{len(suite.candidates)} candidates, {len(suite.edits)} edits"


def _plan(workspace: Workspace) -> str:
    """The newest plan can be read, and its photographs are what they were.

    Raises:
        ProjectError: A photograph is missing or has changed.
    """
    import hashlib

    from whichlora.plan.codec import plan_from_json
    from whichlora.store import Store

    with Store(workspace.folder) as store:
        document = store.document("plan")
        if document is None:
            return "nothing was planned yet"
        plan = plan_from_json(document)
        finished = store.finished()
    changed = []
    photos = (*plan.sources, *plan.calibration, *plan.impostors)
    for item in photos:
        path = workspace.folder / item.path
        try:
            same = hashlib.sha256(path.read_bytes()).hexdigest() == item.sha256
        except OSError:
            same = False
        if not same:
            changed.append(path.name)
    if changed:
        raise ProjectError(f"{len(changed)} photographs are missing or changed since the plan: {_some(changed)}.",
                           fix="Put them back, or run again: a new plan is made from the photographs as they are.")
    done = sum(1 for cell in {cell.id for cell in plan.cells} if cell in finished)
    return f"{done} of {len({cell.id for cell in plan.cells})} cells done; {len(photos)} photographs as planned"


def _told(mended: Mended) -> dict[str, Any]:
    saved = mended.salvaged
    return {
        "made_again": list(mended.again), "moved_aside": [str(path) for path in mended.aside],
        "cleared": mended.cleared,
        "database": None if saved is None else {
            "rows": saved.rows, "complete": saved.complete, "from_pictures": saved.from_pictures,
            "damaged_copy": str(saved.aside),
        },
    }


def _sentences(mended: Mended) -> Iterable[str]:
    saved = mended.salvaged
    if saved is not None:
        rows = ", ".join(f"{count} {name}" for name, count in saved.rows.items())
        yield f"The database was damaged and is new: {rows}; {saved.from_pictures} cells were told by their pictures."
        lost = [name for name, whole in saved.complete.items() if not whole]
        if lost:
            yield f"Not all of it could be read: {', '.join(lost)} may lack rows. The damaged file is in {saved.aside}."
        if "votes" in lost:
            yield "If you exported what people said ('whichlora review --export'), bring it back with --import."
    if mended.again:
        yield f"{len(mended.again)} cells were forgotten; the next run makes their pictures again."
    if mended.aside:
        yield f"{len(mended.aside)} pictures that no row names were moved to {mended.aside[0].parent}."
    if mended.cleared:
        yield f"{mended.cleared} half-written or damaged files were removed."
    if not (saved or mended.again or mended.aside or mended.cleared):
        yield "Nothing needed repair."


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(name[:40] for name in listed[:_SHOWN]) + more
