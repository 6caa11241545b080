"""Writes the report's folder: one page that opens from file://, its data, pictures, plots and tables.

The page asks nothing of any network: its policy forbids it. `index.html` is written last, so a folder that has one is
complete.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from markupsafe import Markup

from whichlora import registry
from whichlora.errors import UserError
from whichlora.report.data import page_data, script
from whichlora.report.files import write_text
from whichlora.report.model import ReportInput, ReportPaths
from whichlora.report.page import Page
from whichlora.report.pictures import collect
from whichlora.report.sections.base import ReportSection
from whichlora.report.tables import write_findings, write_matrix
from whichlora.report.templates import ASSETS, render_file

POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file: data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Content security policy of the page. 'file:' serves pages opened from a folder, where not every browser counts a
neighbouring file as 'self'; on a web host it allows nothing."""

MARK = "whichlora report"
"""Name of the generator, by which a report's folder is known."""

STATIC = ("report.css", "report.js", "viewer.js", "controls.js", "stage.js")
"""Files copied as they are."""


def sections() -> list[ReportSection]:
    """Every section that is installed, in the order of the page."""
    found: list[ReportSection] = [registry.load("sections", name) for name in registry.names("sections")]
    return sorted(found, key=lambda section: (section.order, section.name))


def write_report(given: ReportInput, folder: Path) -> ReportPaths:
    """Write the HTML report with everything that belongs to it.

    Args:
        given: Findings, plan, pictures and scores.
        folder: Where to; made if missing. An earlier report in it is replaced.

    Returns:
        Where everything lies, and which pictures could not be read.

    Raises:
        UserError: The folder holds a page that no report wrote.
    """
    from whichlora.report.plots import write_plots

    folder = Path(folder)
    _refuse_foreign(folder)
    assets = folder / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    index = folder / "index.html"
    index.unlink(missing_ok=True)
    for name in STATIC:
        shutil.copyfile(ASSETS / name, assets / name)
    page = Page(given, collect(given, folder))
    plots = write_plots(page, assets / "plots")
    data = folder / "data.js"
    write_text(data, script("whichlora", page_data(page)))
    paths = ReportPaths(
        folder, index, data, write_matrix(given.findings, folder / "matrix.csv"),
        write_findings(given.findings, folder / "findings.json"), plots, page.pictures.problems,
    )
    write_text(index, _whole(page))
    return paths


def _whole(page: Page) -> str:
    parts: list[tuple[ReportSection, Markup]] = [(section, section.html(page)) for section in sections()]
    return render_file(
        "page.html", page=page, policy=POLICY, mark=MARK,
        parts=[(section, body) for section, body in parts if body.strip()],
    )


def _refuse_foreign(folder: Path) -> None:
    """Never overwrite somebody's own page."""
    index = folder / "index.html"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file, not a folder.", fix="Choose another place for the report.")
    if index.exists() and MARK not in index.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise UserError(f"'{index}' was not written by whichlora.", fix="Choose an empty folder for the report.")
