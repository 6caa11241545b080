"""The terminal's answer fits, cuts no figure, and carries the verdict."""

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from whichlora.findings import Estimate
from whichlora.report.terminal import render_terminal
from whichlora.report.words import percent


def shown(findings, width):
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(render_terminal(findings))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("world", ["project", "hostile"])
def test_it_fits(width, world, request):
    given = getattr(request.getfixturevalue(world), "given", request.getfixturevalue(world))
    assert max(cell_len(line.rstrip()) for line in shown(given.findings, width).splitlines()) <= width


@pytest.mark.parametrize("width", [80, 100])
def test_every_figure_is_whole(project, width):
    text = shown(project.given.findings, width)
    lines = text.splitlines()
    for row in project.given.findings.candidates:
        line = next(line for line in lines if line[2:].startswith(row.name[:12]))
        assert "…" not in line[18:].lstrip("…")[1:] if len(row.name) > 15 else "…" not in line
        assert percent(row.ccr.value) in line
        first = row.capabilities[project.given.findings.must_have[0]].rate.value
        assert percent(first) in line[18:]


def test_verdict_and_confidence_are_there(project):
    findings = project.given.findings
    for firm, word in ((True, "[firm]"), (False, "[provisional]")):
        text = " ".join(
            shown(replace(findings, recommendation=replace(findings.recommendation, firm=firm)), 100).split()
        )
        assert findings.recommendation.sentence in text
        assert word in text


def test_a_missing_figure_is_no_zero(project):
    rows = tuple(
        replace(row, ccr=Estimate(None), capabilities={}, seconds_per_image=None, peak_memory_gib=None)
        for row in project.given.findings.candidates
    )
    text = shown(replace(project.given.findings, candidates=rows), 100)
    assert "0%" not in text.split("Consistent")[0].split("memory")[1]
    assert text.count("–") >= 3 * len(rows)


def test_the_recommended_row_is_never_cut_away(project):
    findings = project.given.findings
    base, *others = findings.candidates
    many = tuple(replace(others[0], name=f"lora-{n}") for n in range(40))
    chosen = replace(findings.recommendation, candidate="lora-37")
    text = shown(replace(findings, candidates=(base, *many), recommendation=chosen), 100)
    assert "→ lora-37" in text
    assert "27 more rows" in text


def test_nothing_reaches_the_terminal_as_a_command(hostile):
    text = shown(hostile.findings, 100)
    assert "\x1b" not in text
    assert "\u202e" not in text
