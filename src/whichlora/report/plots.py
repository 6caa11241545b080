"""The report's plots as SVG and PNG, in one quiet house style. Draws stored figures; computes none."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.findings import CandidateFacts, CapabilityFact
from whichlora.report.failing import compared, kinds
from whichlora.report.page import Page
from whichlora.report.scatter import Dot, scatter
from whichlora.report.words import NOT_MEASURED, clean, count, fault, gib, percent, seconds, shorten, spoken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, QUIET, LINE, PAPER = "#22262b", "#6b7178", "#e4e2dc", "#ffffff"
TEAL, CLAY, GREY, GOLD = "#0f766e", "#b4532a", "#9aa0a6", "#b7791f"
KINDS = {"base": INK, "candidate": "#5b7f9b", "control": GREY, "chosen": TEAL}

MOST_ROWS, MOST_COLUMNS = 30, 8
"""What a plot can show legibly; the tables show everything."""

STYLE: dict[str, Any] = {
    "figure.facecolor": PAPER, "axes.facecolor": PAPER, "axes.edgecolor": LINE, "axes.labelcolor": QUIET,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "axes.titlesize": 10,
    "axes.titleweight": "bold", "axes.titlecolor": INK, "axes.titlelocation": "left", "axes.labelsize": 9,
    "xtick.color": QUIET, "ytick.color": INK, "xtick.labelsize": 8, "ytick.labelsize": 9, "xtick.major.size": 0,
    "ytick.major.size": 0, "text.color": INK, "text.parse_math": False, "font.size": 9, "svg.hashsalt": "whichlora",
    "svg.fonttype": "path", "savefig.dpi": 144,
}
"""matplotlib settings; `text.parse_math` is off because names may hold dollar signs."""

FONTS = ("Inter", "Segoe UI", "Helvetica Neue", "Arial", "Noto Sans", "DejaVu Sans", "Noto Sans CJK SC",
         "Microsoft YaHei", "PingFang SC", "WenQuanYi Zen Hei")
"""Tried in this order, for every sign anew."""


def write_plots(page: Page, folder: Path) -> tuple[Path, ...]:
    """Write every plot twice, as SVG and PNG, and return the files."""
    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    folder.mkdir(parents=True, exist_ok=True)
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [name for name in FONTS if name in installed] or ["DejaVu Sans"]
    written: list[Path] = []
    style: Any = {**STYLE, "font.family": fonts}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        for name, draw in PLOTS.items():
            figure = draw(page)
            box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer()).padded(0.15)
            for kind in ("svg", "png"):
                path = folder / f"{name}.{kind}"
                figure.savefig(path, bbox_inches=box, metadata={"Date": None} if kind == "svg" else None)
                written.append(path)
    return tuple(written)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def draw_matrix(page: Page) -> Figure:
    """Every candidate and capability with both intervals; colour only where a difference to base is shown."""
    rows, columns = _shown(page), ["", *page.capabilities[:MOST_COLUMNS]]
    figure = _figure(2.4 + 1.7 * len(columns), 1.0 + 0.34 * len(rows))
    axes = figure.subplots(1, len(columns), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    for axis, name in zip(axes, columns, strict=True):
        must = " •" if name in page.findings.must_have else ""
        axis.set_title(shorten(spoken(name), 18) + must if name else "overall")
        axis.axvline(page.findings.target, color=GOLD, lw=0.9, zorder=1)
        axis.hlines(range(len(rows)), 0, 1, color=LINE, lw=0.6, zorder=0)
        _draw_rates(axis, rows, name)
        axis.set_xlim(-0.03, 1.03)
        axis.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
        axis.spines["left"].set_visible(False)
    axes[0].set_yticks(range(len(rows)), [shorten(row.name, 34) for row in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    axes[0].annotate(
        f"Consistent pictures. Line: {percent(page.findings.target)} target. Thick: these photographs; thin: new ones. "
        f"Teal: shown better than base; clay: worse.{_left_out(page)}", (0, 0), (0, -28), xycoords="axes fraction",
        textcoords="offset points", fontsize=8, color=QUIET, va="top")
    return figure


def _draw_rates(axis: Any, rows: Sequence[CandidateFacts], name: str) -> None:
    """One column of the matrix: '' for the overall rate, else a capability."""
    for place, row in enumerate(rows):
        fact = row.capabilities.get(name)
        rate = row.ccr if not name else fact.rate if fact else None
        if rate is None or rate.value is None:
            axis.text(0.5, place, NOT_MEASURED, ha="center", va="center", fontsize=7, color=QUIET)
            continue
        colour = GREY if row.role == "control" else _colour(fact)
        for low, high, width in ((rate.low, rate.high, 1.1), (rate.low_here, rate.high_here, 3.2)):
            if low is not None and high is not None:
                axis.plot([low, high], [place, place], color=colour, lw=width, solid_capstyle="butt", zorder=2)
        axis.plot(rate.value, place, "o", ms=5, color=colour, mec=PAPER, mew=0.8, zorder=3)


def _shown(page: Page) -> list[CandidateFacts]:
    """Rows of a plot: the first ones, and the recommended ones wherever they stand."""
    rows = page.findings.candidates
    return [row for n, row in enumerate(rows) if n < MOST_ROWS or row.name in page.recommended]


def _left_out(page: Page) -> str:
    rows = len(page.findings.candidates) - len(_shown(page))
    columns = len(page.capabilities[MOST_COLUMNS:])
    said = [count(number, noun) for number, noun in ((rows, "row"), (columns, "column")) if number]
    return f" Left out: {' and '.join(said)}; the table has them." if said else ""


def _colour(fact: CapabilityFact | None) -> str:
    if fact is None:
        return INK
    return TEAL if fact.better_than_base else CLAY if fact.worse_than_base else INK


def draw_pareto(page: Page) -> Figure:
    """Identity kept against edit done; area of a dot is seconds a picture."""
    drawn = scatter(page.findings.candidates, page.recommended)
    figure = _figure(drawn.width / 80, drawn.height / 80)
    axis = figure.subplots()
    axis.set(xlim=(drawn.left, drawn.right), ylim=(drawn.bottom, drawn.top))
    axis.set_xticks([tick.at for tick in drawn.x_ticks], [tick.label for tick in drawn.x_ticks])
    axis.set_yticks([tick.at for tick in drawn.y_ticks], [tick.label for tick in drawn.y_ticks])
    axis.grid(color=LINE, lw=0.6)
    if drawn.front:
        points = [tuple(map(float, pair.split(","))) for pair in drawn.front.split()]
        axis.plot([x for x, _ in points], [y for _, y in points], color=GREY, lw=1, ls=(0, (3, 3)), zorder=1)
    for dot in drawn.drawn:
        _draw_dot(axis, dot)
    axis.set(xlabel="edit done →", ylabel="identity kept →")
    axis.set_title("Does it edit, and does it keep the person?")
    chosen = "recommended" if page.findings.recommendation.firm else "leading"
    axis.annotate(f"Black: base; teal: {chosen}; grey: control. A larger dot takes longer per picture."
                  + (" Dashed: none surpasses these at both." if drawn.front else ""), (0, 0), (0, -34),
                  xycoords="axes fraction", textcoords="offset points", fontsize=8, color=QUIET, va="top")
    return figure


def _draw_dot(axis: Any, dot: Dot) -> None:
    colour = KINDS.get(dot.kind, KINDS["candidate"])
    axis.scatter([dot.x], [dot.y], s=(dot.r * 1.8) ** 2, color=colour, alpha=0.9, edgecolor=PAPER, zorder=3,
                 clip_on=False)
    if dot.leader:
        axis.plot([dot.x, dot.label_x], [dot.y, dot.label_y - 4], color=GREY, lw=0.6, zorder=2)
    side = {"start": "left", "end": "right"}.get(dot.anchor, "center")
    axis.text(dot.label_x, dot.label_y, dot.label, ha=side, fontsize=8, color=colour, zorder=4)


def draw_failures(page: Page) -> Figure:
    """Failures by kind."""
    found = [(kind, len(cells)) for kind, cells, _ in reversed(kinds(page))][-MOST_ROWS:]
    figure = _figure(6, 0.9 + 0.3 * max(1, len(found)))
    axis = figure.subplots()
    axis.set_title(f"What went wrong, of {len(compared(page))} planned pictures of base and candidates")
    if not found:
        axis.text(0.5, 0.5, "No failure was counted.", ha="center", transform=axis.transAxes)
        axis.set_axis_off()
        return figure
    axis.barh(range(len(found)), [number for _, number in found], color=CLAY, height=0.6)
    axis.set_yticks(range(len(found)), [shorten(fault(kind), 34) for kind, _ in found])
    for place, (_, number) in enumerate(found):
        axis.text(number, place, f" {number}", va="center", fontsize=8)
    axis.set_xticks([])
    axis.spines["bottom"].set_visible(False)
    return figure


def draw_cost(page: Page) -> Figure:
    """Seconds a picture and peak memory."""
    rows = _shown(page)
    figure = _figure(7.5, 0.9 + 0.3 * len(rows))
    axes = figure.subplots(1, 2, sharey=True)
    columns = (("a picture takes", [row.seconds_per_image for row in rows], seconds),
               ("peak memory", [row.peak_memory_gib for row in rows], gib))
    for axis, (title, values, say) in zip(axes, columns, strict=True):
        axis.set_title(title)
        axis.barh(range(len(rows)), [value or 0 for value in values], color="#5b7f9b", height=0.6)
        for place, value in enumerate(values):
            axis.text(value or 0, place, f" {say(value)}", va="center", fontsize=8)
        axis.set_xticks([])
        axis.margins(x=0.25)
        axis.spines["bottom"].set_visible(False)
    axes[0].set_yticks(range(len(rows)), [shorten(clean(row.name), 34) for row in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    return figure


PLOTS: dict[str, Callable[[Page], Figure]] = {
    "matrix": draw_matrix, "pareto": draw_pareto, "failures": draw_failures, "cost": draw_cost,
}
"""Every plot by file name."""
