"""`whichlora review PROJECT`: judge blind in the browser, look at pictures, carry votes to and from other machines."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    rater: Annotated[str, typer.Option("--rater", help="Your name as a voter; left out, the page asks.")] = "",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the link, open no browser.")] = False,
    export: Annotated[Path | None, typer.Option("--export", help="Write all votes as a table, then leave.")] = None,
    bring: Annotated[
        Path | None, typer.Option("--import", help="Add the votes of a table made elsewhere, then leave.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Serve the review pages of a project until Ctrl-C, or export and import votes."""
    from whichlora.cli.stages import stored_plan
    from whichlora.review.votes import check_rater
    from whichlora.store import Store
    from whichlora.workspace import Workspace

    if rater:
        check_rater(rater)
    workspace = Workspace.open(folder)
    with Store(workspace.folder) as store:
        plan = stored_plan(store)
        done: dict[str, Any] = {}
        if bring is not None:
            done["imported"] = _import(store, plan, bring)
        if export is not None:
            done["exported"] = _export(store, plan, export)
        if done:
            _tell(done, json=json)
            return
    _serve(workspace.folder, plan, port, rater, no_open=no_open, json=json)


def _import(store: Any, plan: Any, path: Path) -> dict[str, int]:
    """Bring the votes of a table into the store, all or none."""
    from whichlora.errors import UserError
    from whichlora.review.transfer import read_csv

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UserError(f"'{path}' cannot be read: {reason}.", fix="Name a table written with --export.") from error
    brought = read_csv(text, plan, store.votes())
    return {"new": store.add_votes(brought.rows), "known": brought.known}


def _export(store: Any, plan: Any, path: Path) -> dict[str, Any]:
    """Write all votes of the store to a table."""
    from whichlora.review.transfer import write_csv
    from whichlora.review.votes import from_row
    from whichlora.store.durable import write_durably

    votes = [vote for row in store.votes() if (vote := from_row(row)) is not None]
    write_durably(path, write_csv(plan, votes).encode("utf-8"))
    return {"votes": len(votes), "file": str(path)}


def _tell(done: dict[str, Any], *, json: bool) -> None:
    if json:
        emit_json("whichlora.review/1", done)
        return
    if "imported" in done:
        answer_console.print(f"{done['imported']['new']} votes added, {done['imported']['known']} were here already.")
    if "exported" in done:
        answer_console.print(f"{done['exported']['votes']} votes written to {done['exported']['file']}.", markup=False)


def _serve(folder: Path, plan: Any, port: int, rater: str, *, no_open: bool, json: bool) -> None:
    """Open the port and serve until Ctrl-C."""
    from whichlora.errors import UserError

    try:
        from whichlora.web.serve import serve
    except ImportError as error:
        raise UserError(f"The review pages need the package '{error.name}', which is not installed.",
                        fix="Install it with: pip install 'whichlora[review]'") from error

    def ready(link: str, _: Any) -> None:
        address = link + (f"&rater={quote(rater)}" if rater else "")
        if json:
            emit_json("whichlora.review/1", {"url": address, "project": plan.project})
        progress_console.print("Judge in your browser (the link works once; further links are made on the page):")
        progress_console.print(f"  {address}", markup=False)
        progress_console.print("Every vote is on the disk before the next pair appears. Ctrl-C ends.")
        if not no_open:
            webbrowser.open(address)

    serve(folder, plan, port, ready)
    progress_console.print("Ended; all votes are kept.")
