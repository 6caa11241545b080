"""Page, document, table and JSON say what the findings say, and what is missing is called so everywhere."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from whichlora.errors import UserError
from whichlora.findings import Estimate, findings_from_json
from whichlora.report.html import write_report
from whichlora.report.markdown import write_markdown
from whichlora.report.words import percent


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Plots have tests of their own."""
    monkeypatch.setattr("whichlora.report.plots.PLOTS", {})


class Table(HTMLParser):
    """Reads the matrix as a person does: visible figures by row."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside, self.cell, self.hidden = [], False, None, 0

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "table":
            self.inside = attrs.get("id") == "matrix-table"
        if self.inside and tag == "tr":
            self.rows.append([])
        if self.inside and tag in {"td", "th"}:
            self.cell = ""
        if (tag == "span" and "unseen" in (attrs.get("class") or "")) or (self.hidden and tag == "span"):
            self.hidden += 1

    def handle_endtag(self, tag):
        if tag == "span" and self.hidden:
            self.hidden -= 1
        if self.inside and tag in {"td", "th"}:
            self.rows[-1].append(" ".join(self.cell.split()))
            self.cell = None
        if tag == "table":
            self.inside = False

    def handle_data(self, data):
        if self.cell is not None and not self.hidden:
            self.cell += data


def html_rows(paths):
    table = Table()
    table.feed(paths.index.read_text(encoding="utf-8"))
    return table.rows


def markdown_rows(path):
    text = path.read_text(encoding="utf-8").split("## Comparison matrix")[1]
    lines = [line for line in text.split("\n\n")[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def capabilities(findings):
    found = [name for row in findings.candidates for name in row.capabilities]
    return list(dict.fromkeys([*findings.must_have, *found]))


def expected(findings):
    """Visible figures by row, straight from the findings."""
    for row in findings.candidates:
        rates = [
            row.ccr,
            *(row.capabilities[n].rate if n in row.capabilities else Estimate(None) for n in capabilities(findings)),
        ]
        yield row, [percent(rate.value) for rate in rates]


def test_html_matrix_equals_findings(project, written):
    findings = project.given.findings
    rows = html_rows(written)[1:]
    assert len(rows) == len(findings.candidates)
    for shown, (row, figures) in zip(rows, expected(findings), strict=True):
        assert [cell.rstrip("✓✗? ") for cell in shown[1 : 1 + len(figures)]] == figures
        assert shown[0].startswith(row.name)


def test_html_intervals_stand_where_the_figures_say(project, written):
    html = written.index.read_text(encoding="utf-8")
    matrix = html[html.index('id="matrix-table"') : html.index("</table>")]
    drawn = re.findall(r'<line class="new" x1="([\d.]+)" x2="([\d.]+)"', matrix)
    wanted = []
    for row in project.given.findings.candidates:
        rates = [
            row.ccr,
            *(row.capabilities[n].rate for n in capabilities(project.given.findings) if n in row.capabilities),
        ]
        wanted += [(rate.low, rate.high) for rate in rates if rate.value is not None]
    assert [(float(a), float(b)) for a, b in drawn] == [
        (pytest.approx(2 + 100 * low, abs=0.06), pytest.approx(2 + 100 * high, abs=0.06)) for low, high in wanted
    ]


def test_markdown_matrix_equals_findings(project, tmp_path):
    rows = markdown_rows(write_markdown(project.given, tmp_path / "docs" / "results.md"))[2:]
    for shown, (_, figures) in zip(rows, expected(project.given.findings), strict=True):
        assert [cell.split(" (")[0] for cell in shown[1 : 1 + len(figures)]] == figures


def test_csv_equals_findings(project, written):
    rows = list(csv.DictReader(io.StringIO(written.matrix_csv.read_text(encoding="utf-8-sig"))))
    for shown, row in zip(rows, project.given.findings.candidates, strict=True):
        assert float(shown["overall"]) == row.ccr.value
        for name in capabilities(project.given.findings):
            fact = row.capabilities.get(name)
            for end in ("value", "low", "high", "low_here", "high_here"):
                column = name if end == "value" else f"{name}_{end}"
                stored = getattr(fact.rate, end) if fact else None
                assert shown[column] == "not measured" if stored is None else float(shown[column]) == stored
            if fact and fact.against_base:
                assert shown[f"{name}_shown"].startswith("better") == fact.better_than_base
                assert shown[f"{name}_shown"].startswith("worse") == fact.worse_than_base


def test_json_gives_the_findings_back(project, written):
    assert findings_from_json(json.loads(written.findings_json.read_text(encoding="utf-8"))) == project.given.findings


def test_colour_stands_only_where_a_difference_is_shown(project, written):
    html = written.index.read_text(encoding="utf-8")
    facts = [
        fact
        for row in project.given.findings.candidates
        for fact in row.capabilities.values()
        if fact.rate.value is not None
    ]
    assert html.count('<td class="rate better"') == sum(fact.better_than_base for fact in facts)
    assert html.count('<td class="rate worse"') == sum(
        fact.worse_than_base and not fact.better_than_base for fact in facts
    )


def test_nothing_measured_is_called_so_everywhere(project, tmp_path):
    nothing = Estimate(None)
    rows = tuple(
        replace(
            row,
            ccr=nothing,
            ccr_best_case=None,
            ccr_worst_case=None,
            p_edit=None,
            p_identity=None,
            no_op_rate=None,
            seconds_per_image=None,
            peak_memory_gib=None,
            means={},
            truth=None,
            p_best=None,
            capabilities={
                name: replace(
                    fact, rate=nothing, against_base=None, state="OPEN", better_than_base=False, worse_than_base=False
                )
                for name, fact in row.capabilities.items()
            },
        )
        for row in project.given.findings.candidates
    )
    given = replace(project.given, findings=replace(project.given.findings, candidates=rows), scores={})
    paths = write_report(given, tmp_path / "report")
    figures = [cell for row in html_rows(paths)[1:] for cell in row[1:]]
    assert set(figures) == {"not measured"}
    document = write_markdown(given, tmp_path / "r.md")
    assert {cell for row in markdown_rows(document)[2:] for cell in row[1:]} == {"not measured"}
    rows = list(csv.reader(io.StringIO(paths.matrix_csv.read_text(encoding="utf-8-sig"))))
    numeric = [
        cell
        for row in rows[1:]
        for head, cell in zip(rows[0], row, strict=True)
        if head.endswith(("_low", "_high", "_here", "overall", "seconds_per_image", "peak_memory_gib", "camera"))
    ]
    assert set(numeric) == {"not measured"}
    for text in (
        paths.index.read_text(encoding="utf-8").split("<main")[1].split("Settings")[0],
        document.read_text(encoding="utf-8"),
    ):
        assert not re.search(r"(?<![\w.])0%(?! target)", text.split("## Settings")[0].replace("100%", ""))


def test_truth_stands_apart_and_says_so(project, written, tmp_path):
    html = written.index.read_text(encoding="utf-8")
    said = ('Truth<span class="unit">decides nothing</span>', "Truth is the overall rate as the makers")
    assert all(part in html for part in said)
    without = tuple(replace(row, truth=None) for row in project.given.findings.candidates)
    given = replace(project.given, findings=replace(project.given.findings, candidates=without))
    plain = write_report(given, tmp_path / "r").index.read_text(encoding="utf-8")
    assert not any(part in plain for part in said)
    assert "truth" not in (tmp_path / "r" / "matrix.csv").read_text(encoding="utf-8-sig")


def test_a_figure_that_is_not_finite_is_not_a_figure(project, tmp_path):
    row = replace(project.given.findings.candidates[1], seconds_per_image=float("nan"), means={"x/y": float("inf")})
    given = replace(
        project.given, findings=replace(project.given.findings, candidates=(project.given.findings.candidates[0], row))
    )
    paths = write_report(given, tmp_path / "r")
    assert json.loads(paths.findings_json.read_text(encoding="utf-8"))["candidates"][1]["seconds_per_image"] is None
    page = paths.index.read_text(encoding="utf-8")
    assert '"nan"' not in page
    assert '"inf"' not in page


def test_spreadsheets_take_no_name_for_a_formula(hostile_written):
    rows = list(csv.reader(io.StringIO(hostile_written.matrix_csv.read_text(encoding="utf-8-sig"))))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


def test_a_foreign_page_is_never_overwritten(project, tmp_path):
    (tmp_path / "index.html").write_text("<h1>my own</h1>", encoding="utf-8")
    with pytest.raises(UserError, match="was not written by whichlora"):
        write_report(project.given, tmp_path)
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == "<h1>my own</h1>"


def test_a_second_report_replaces_the_first_and_is_equal(project, tmp_path):
    first = write_report(project.given, tmp_path / "r")
    page, data = first.index.read_bytes(), first.data.read_bytes()
    again = write_report(project.given, tmp_path / "r")
    assert (again.index.read_bytes(), again.data.read_bytes()) == (page, data)
    assert not list((tmp_path / "r").rglob("*.part"))


def test_a_must_have_that_nothing_measured_is_shown_as_such(project, tmp_path):
    findings = replace(project.given.findings, must_have=("hands", *project.given.findings.must_have))
    given = replace(project.given, findings=findings)
    paths = write_report(given, tmp_path / "r")
    assert [row[2] for row in html_rows(paths)[1:]] == ["not measured"] * len(findings.candidates)
    assert html_rows(paths)[0][2].startswith("hands")
    document = markdown_rows(write_markdown(given, tmp_path / "r.md"))
    assert [row[2] for row in document[2:]] == ["not measured"] * len(findings.candidates)
    table = list(csv.DictReader(io.StringIO(paths.matrix_csv.read_text(encoding="utf-8-sig"))))
    assert {row["hands"] for row in table} == {"not measured"}
