"""What stands below the matrix on the first screen, and headlines of several set-ups."""

from dataclasses import replace

import pytest

from whichlora.analysis.ledger import as_text
from whichlora.report import words
from whichlora.report.page import Page
from whichlora.report.sections import matrix, verdict
from whichlora.report.sections.failures import kinds


@pytest.fixture(scope="module")
def page(project):
    return Page(project.given, {})


def deciding(page, **change):
    chosen = replace(page.findings.recommendation, **change)
    return Page(replace(page.given, findings=replace(page.findings, recommendation=chosen)), page.pictures)


def test_the_first_screen_counts_failures_and_licences(page):
    html = str(matrix.PLUGIN.html(page))
    glance = html[html.index('class="glance"'):]
    first = max(kinds(page), key=lambda row: len(row[1]))
    assert f"{words.spoken(first[0])} {len(first[1])}" in " ".join(glance.split())
    assert matrix.licence_words(page) in glance


def test_licences_are_counted_by_what_they_ask_for(page):
    rows = [replace(row, licence=licence) for row, licence in
            zip(page.findings.candidates, ["unknown", "cc-by-nc-4.0", *["mit"] * 50], strict=False)]
    given = replace(page.given, findings=replace(page.findings, candidates=tuple(rows)))
    mine = Page(given, page.pictures)
    flags = [words.licence_flag(row.licence)[0] for row in mine.rivals]
    said = matrix.licence_words(mine)
    assert (f"{flags.count('check')} to check" in said) == (flags.count("check") > 0)
    assert (f"{flags.count('restricted')} not for commercial use" in said) == (flags.count("restricted") > 0)
    free = [replace(row, licence="mit") for row in page.findings.candidates]
    assert matrix.licence_words(Page(replace(page.given, findings=replace(page.findings, candidates=tuple(free))), {})
                                ).startswith("all permissive")


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
    assert as_text(value, "percent").replace(" ", "") == (said if said != "over 99%" else "100%")
    assert as_text(-value, "points") == as_text(value, "points").replace("+", "-" if round(100 * value) else "+")
