"""What stands below the matrix on the first screen, and headlines of several set-ups."""

from dataclasses import replace

import pytest

from whichlora.analysis.ledger import as_text
from whichlora.report import words
from whichlora.report.glance import licence_words
from whichlora.report.page import Page
from whichlora.report.pictures import collect
from whichlora.report.sections import matrix, strip, verdict


@pytest.fixture(scope="module")
def page(project, tmp_path_factory):
    return Page(project.given, collect(project.given, tmp_path_factory.mktemp("glance")))


def deciding(page, **change):
    chosen = replace(page.findings.recommendation, **change)
    return Page(replace(page.given, findings=replace(page.findings, recommendation=chosen)), page.pictures)


def test_the_first_screen_counts_failures_of_rows_that_need_not_fail(page):
    html = str(strip.PLUGIN.html(page))
    assert "glance" not in str(matrix.PLUGIN.html(page)), "said once"
    controls = {row.name for row in page.plan.candidates if row.role == "control"}
    made = [cell for cell in page.plan.cells if cell.candidate not in controls]
    ids = {cell.id for cell in made}
    kind, number = max(((kind, len(ids & set(cells))) for kind, cells in page.findings.failures.items()),
                       key=lambda pair: pair[1])
    assert number
    assert f"{words.spoken(kind)} {number}" in html
    assert f"of {len(made)} pictures" in html
    assert licence_words(page) in html


def test_licences_are_counted_by_what_they_ask_for(page):
    rows = [replace(row, licence=licence) for row, licence in
            zip(page.findings.candidates, ["unknown", "cc-by-nc-4.0", *["mit"] * 50], strict=False)]
    given = replace(page.given, findings=replace(page.findings, candidates=tuple(rows)))
    mine = Page(given, page.pictures)
    flags = [words.licence_flag(row.licence)[0] for row in mine.rivals]
    said = licence_words(mine)
    assert (f"{flags.count('check')} to check" in said) == (flags.count("check") > 0)
    assert (f"{flags.count('restricted')} not for commercial use" in said) == (flags.count("restricted") > 0)
    free = [replace(row, licence="mit") for row in page.findings.candidates]
    assert licence_words(Page(replace(page.given, findings=replace(page.findings, candidates=tuple(free))),
                              page.pictures)).startswith("all permissive")


def test_set_ups_for_different_edits_are_not_called_a_stack(page):
    a, b = (row.name for row in page.findings.candidates[:2])
    apart = {"camera": a, "lighting": b}
    assert verdict.headline(deciding(page, decision="multi", routes=apart)) == verdict.ONE_PER_KIND
    leaning = verdict.headline(deciding(page, decision="undecided", provisional="multi", routes=apart))
    assert "one per kind of edit" in leaning
    assert "one per kind" not in verdict.headline(deciding(page, decision="multi", routes={"camera": a, "lighting": a}))


@pytest.mark.parametrize(("value", "said"), [
    (0.0, "under 1%"), (0.002, "under 1%"), (0.006, "1%"), (0.5, "50%"), (1.0, "over 99%"), (None, "not measured"),
    (float("nan"), "not measured"),
])
def test_a_chance_counted_over_draws_is_never_certain(value, said):
    assert words.chance(value) == said


@pytest.mark.parametrize("value", [0.425, 0.125, 0.705, 0.995, 0.0, 1.0])
def test_a_sentence_and_the_matrix_round_alike(value):
    said = words.percent(value)
    assert as_text(value, "percent") == said
    assert as_text(-value, "points") == as_text(value, "points").replace("+", "-" if round(100 * value) else "+")
