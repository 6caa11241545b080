"""The verdict and the matrix for a terminal: what `demo` and `run` end with. Fits 100 columns, and 80 with less."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from whichlora.findings import CandidateFacts, CapabilityFact, Estimate, Findings
from whichlora.report.model import capabilities, finite
from whichlora.report.words import STATE_MARKS, clean, count, gib, interval, percent, seconds, shorten, spoken

WIDE = 96
"""Columns from which on intervals and memory are shown."""
NAME, HEAD, CELL = 18, 10, 6
"""Least width of the first column, longest head and least width of a figure, in columns."""
SHOWN = 14
"""Rows shown; the report has all of them."""


def render_terminal(findings: Findings) -> RenderableType:
    """Build what a terminal shows: verdict sentence, matrix, next step. It fits the console's own width."""
    return _Terminal(finite(findings))


class _Terminal:
    """Chooses its detail when the console's width is known."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _whole(self.findings, options.max_width)


def _whole(findings: Findings, width: int) -> Group:
    chosen = findings.recommendation
    word = Text("firm", "bold green") if chosen.firm else Text("provisional", "bold yellow")
    parts: list[RenderableType] = [
        Text.assemble((clean(chosen.sentence), "bold"), "  [", word, "]"), Text(),
        _matrix(findings, width),
        Text(f"Consistent pictures of {count(findings.photos, 'photograph')}; target {percent(findings.target)}: "
             "✓ reached, ✗ missed, ? open, – not measured. Green: shown better than base, red: worse.", "dim"),
    ]
    hidden = len(findings.candidates) - SHOWN
    if hidden > 0:
        parts.append(Text(f"{count(hidden, 'more row')} in the report.", "dim"))
    out = sum(row.screened_out is not None for row in findings.candidates)
    if out:
        left = count(out, "candidate")
        parts.append(Text(f"{left} screened out on the way (out): fewer pictures, not failed.", "dim"))
    if findings.refused:
        parts.append(Text(f"{count(len(findings.refused), 'file')} refused; the report says why.", "dim"))
    if chosen.next_step:
        parts.append(Text.assemble(("Next: ", "bold"), clean(chosen.next_step)))
    return Group(*parts)


def _matrix(findings: Findings, width: int) -> Table:
    names = capabilities(findings)
    wide = width >= WIDE
    gap = 2 if wide else 1
    heads = {name: shorten(spoken(name), HEAD) + ("•" if name in findings.must_have else "") for name in names}
    room = width - ((13 if wide else 7) + gap) - (7 + gap) - (8 + gap if wide else 0) - NAME - gap
    shown: list[str] = []
    for name in names:  # whole columns or none: a figure is never cut
        room -= max(cell_len(heads[name]), CELL) + gap
        if room >= 0:
            shown.append(name)
    spare = max(0, room) if len(shown) == len(names) else 0
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold dim")
    table.add_column("", width=NAME + min(spare, 26), no_wrap=True, overflow="ellipsis")
    table.add_column("overall", no_wrap=True)
    for name in shown:
        table.add_column(escape(heads[name]), no_wrap=True)
    table.add_column("time", no_wrap=True)
    if wide:
        table.add_column("memory", no_wrap=True)
    for row in _rows(findings):
        cells = [_name(row, findings, NAME + min(spare, 26)), _overall(row.ccr, wide)]
        cells += [_capability(row.capabilities.get(name)) for name in shown]
        cells += [Text(_short(seconds(row.seconds_per_image)))]
        table.add_row(*cells, *([Text(_short(gib(row.peak_memory_gib)))] if wide else []))
    if len(shown) < len(names):
        left = shorten(", ".join(spoken(name) for name in names if name not in shown), 2 * width - 20)
        table.caption = Text(f"Not shown here: {left}.", "dim")
        table.caption_justify = "left"
    return table


def _rows(findings: Findings) -> list[CandidateFacts]:
    """The first rows; the recommended one is never cut away."""
    rows = list(findings.candidates)
    chosen = [row for row in rows[SHOWN:] if row.name == findings.recommendation.candidate]
    return rows[: SHOWN - len(chosen)] + chosen


def _name(row: CandidateFacts, findings: Findings, room: int) -> Text:
    mark = "→ " if row.name == findings.recommendation.candidate else "  "
    style = "bold" if mark.strip() else "dim" if row.role == "control" else ""
    text = Text(mark + clean(row.name).replace("\n", " "), style if row.screened_out is None else "dim")
    left = "" if row.screened_out is None else " (out)"
    text.truncate(room - len(left), overflow="ellipsis")
    text.append(left)
    return text


def _percent(rate: float | None) -> str:
    """A rate in at most four signs."""
    return percent(rate).replace("under ", "<").replace("over ", ">")


def _overall(rate: Estimate, wide: bool) -> Text:
    if rate.value is None:
        return Text("–", "dim")
    text = Text(f"{_percent(rate.value):4}")
    if wide and rate.low is not None:
        text.append(f" {interval(rate.low, rate.high)}", "dim")
    return text


def _capability(fact: CapabilityFact | None) -> Text:
    if fact is None or fact.rate.value is None:
        return Text("–", "dim")
    style = "green" if fact.better_than_base else "red" if fact.worse_than_base else ""
    return Text(f"{_percent(fact.rate.value):4} {STATE_MARKS[fact.state]}", style)


def _short(text: str) -> str:
    return "–" if text == "not measured" else text
