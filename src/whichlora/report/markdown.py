"""Writes the report as one Markdown document, from the same sections and figures as the page."""

from __future__ import annotations

import os
from pathlib import Path

from whichlora.errors import UserError
from whichlora.report import marks
from whichlora.report.files import write_text
from whichlora.report.html import sections
from whichlora.report.model import ReportInput, ReportPaths
from whichlora.report.page import Page
from whichlora.report.pictures import NO_PICTURES, PictureBook, described

NOTE = "Pictures are left out of this document; the HTML report shows every one of them."


def write_markdown(given: ReportInput, path: Path, pictures: ReportPaths | Path | None = None) -> Path:
    """Write the Markdown report.

    Args:
        given: Findings, plan, pictures and scores.
        path: File to write, such as docs/qwen-ecosystem-results.md; its folder is made if missing.
        pictures: The HTML report (its paths or its folder) whose pictures are linked, relative to the document.
            Without it, or when no relative way leads there, pictures are left out with a note.

    Returns:
        The file.

    Raises:
        UserError: `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"'{path}' is a folder.", fix=f"Name a file, such as '{path / 'results.md'}'.")
    folder = pictures.folder if isinstance(pictures, ReportPaths) else pictures
    book = _linked(given, folder, path) if folder else NO_PICTURES
    page = Page(given, book)
    parts = [f"# {marks.text(given.findings.project)}: which LoRA keeps the character"]
    if book.empty:
        parts.append(f"*{NOTE}*")
    for section in sections():
        body = section.markdown(page).strip()
        if body:
            parts += [f"## {section.title}", body]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def _linked(given: ReportInput, folder: Path, path: Path) -> PictureBook:
    """The report's pictures as seen from the document."""
    try:
        way = os.path.relpath(folder.resolve(), path.resolve().parent)
    except ValueError:  # another drive on Windows
        return NO_PICTURES
    return described(given, folder).seen_from("" if way == "." else Path(way).as_posix() + "/")
