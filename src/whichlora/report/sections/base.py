"""The contract of a report section.

A section is one file `report/sections/<name>.py` with a module-level `PLUGIN`; nothing else is edited. It renders from
a `Page` (an index over the stored input) and computes no figure of its own. Third parties use the entry-point group
'whichlora.sections'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from markupsafe import Markup

from whichlora.report.page import Page


class ReportSection(Protocol):
    """A part of the report."""

    name: str
    """Equal to the file's name; the part's anchor."""
    title: str
    """Heading; '' for a part that needs none."""
    nav: str
    """One or two words for the page's navigation; '' to stay out of it."""
    order: int
    """Smaller comes first. Parts below 100 make up the first screen."""
    width: Literal["full", "half"]
    """Room that it takes on a wide page."""

    def html(self, page: Page) -> Markup:
        """Body of the part, already escaped (see `templates.render`); '' leaves the whole part out."""
        ...

    def markdown(self, page: Page) -> str:
        """The same in Markdown without its heading; '' leaves it out."""
        ...


@dataclass(frozen=True)
class Section:
    """A section made of two functions; fields as in `ReportSection`."""

    name: str
    """Equal to the file's name."""
    title: str
    """Heading."""
    nav: str
    """Word in the navigation."""
    order: int
    """Place."""
    html: Callable[[Page], Markup]
    """Body as HTML."""
    markdown: Callable[[Page], str]
    """Body as Markdown."""
    width: Literal["full", "half"] = "full"
    """Room."""
