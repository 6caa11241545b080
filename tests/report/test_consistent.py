"""The report does not contradict or repeat itself, and links what it speaks of."""

import re
from dataclasses import replace

import pytest

from whichlora.findings import Option
from whichlora.report import words
from whichlora.report.glance import failure_words
from whichlora.report.html import write_report
from whichlora.report.markdown import write_markdown
from whichlora.report.page import Page
from whichlora.report.pictures import NO_PICTURES
from whichlora.report.sections import failures, flip, limits, manifest, matrix, measures, options, pareto, verdict


def page_of(project, **change):
    return Page(replace(project.given, findings=replace(project.given.findings, **change)), NO_PICTURES)


def test_every_setting_is_named_once(project):
    """The base stood there twice, and nothing as '{}', '[]' and 'null'."""
    stored = {"base": {"id": project.given.findings.base, "fingerprint": project.given.plan.base.fingerprint},
              "base_fingerprint": project.given.plan.base.fingerprint, "options": {}, "notes": ["n"],
              "device_waited": None, "candidates": {"angles": "abc"}, "python": "3.12"}
    page = page_of(project, manifest=stored)
    for text in (str(manifest.PLUGIN.html(page)), manifest.PLUGIN.markdown(page)):
        keys = re.findall(r"<dt>(.*?)</dt>", text) or re.findall(r"^\| (.+?) \|", text, re.MULTILINE)[2:]
        assert len(keys) == len(set(keys))
        assert {"base", "base fingerprint", "cells", "fingerprint of angles", "python"} == set(keys)
        assert text.count(project.given.findings.base) == 1
    other = page_of(project, manifest={**stored, "base": {"id": "somebody/else"}})
    assert "somebody/else" in manifest.PLUGIN.markdown(other), "what differs is not hidden"


def test_a_limit_is_said_once(project):
    note = "Views that no photograph shows: from behind."
    plan = replace(project.given.plan, notes=(note,))
    page = Page(replace(project.given, plan=plan, findings=replace(project.given.findings, limits=("One.", note))),
                NO_PICTURES)
    assert str(limits.PLUGIN.html(page)).count(note) == 1
    assert limits.PLUGIN.markdown(page).count(note) == 1


def test_the_document_links_the_plot_of_identity_against_edit(project, tmp_path):
    paths = write_report(project.given, tmp_path / "report")
    text = write_markdown(project.given, tmp_path / "results.md", paths).read_text(encoding="utf-8")
    linked = re.search(r"!\[Identity kept[^]]*\]\(([^)]+)\)", text)[1]
    assert (tmp_path / linked).is_file()
    alone = write_markdown(project.given, tmp_path / "alone.md").read_text(encoding="utf-8")
    assert "pareto.png" not in alone


def test_what_went_wrong_is_counted_alike_everywhere(project):
    """The first screen left the control rows out and the section below it did not."""
    page = page_of(project)
    controls = {row.name for row in page.plan.candidates if row.role == "control"}
    made = sum(cell.candidate not in controls for cell in page.plan.cells)
    said = dict(re.findall(r"- (.+?): (\d+) of \d+ planned", failures.PLUGIN.markdown(page)))
    assert said
    for kind, number in said.items():
        assert f"{kind} {number}" in failure_words(page) or len(said) > 3
        assert f"<b>{number}</b> of {made}" in str(failures.PLUGIN.html(page))
    for kind, cells in page.findings.failures.items():
        mine = [cell for cell in cells if page.cells[cell].candidate not in controls]
        assert said.get(words.fault(kind), "0") == str(len(mine))


def test_a_zero_and_a_gap_are_told_apart_in_the_table_of_failures(project):
    rows = project.given.findings.candidates
    rows = (replace(rows[0], artefacts={"grid": 0}), replace(rows[1], artefacts={"grid": 3}),
            *(replace(row, artefacts={}) for row in rows[2:]))
    page = page_of(project, candidates=rows, failures={})
    lines = [line for line in failures.PLUGIN.markdown(page).splitlines() if line.startswith("| ")]
    assert lines[0].rstrip(" |").endswith("grid lines")
    assert lines[2].rstrip(" |").endswith(" 0")
    assert lines[3].rstrip(" |").endswith(" 3")
    assert all(line.rstrip(" |").endswith("not measured") for line in lines[4:])


@pytest.mark.parametrize("firm", [True, False])
def test_firm_says_what_it_holds_for_where_the_flips_stand(project, firm):
    chosen = replace(project.given.findings.recommendation, firm=firm, flip=("With the target 4.8 points higher, …",))
    page = page_of(project, recommendation=chosen)
    for text in (str(verdict.PLUGIN.html(page)), verdict.PLUGIN.markdown(page)):
        assert ("At this target it stays" in text) == firm
        assert "Nothing that is still open" not in text
    for text in (str(flip.PLUGIN.html(page)), flip.PLUGIN.markdown(page)):
        assert ("firm for the target and limits as they are set" in text) == firm
        assert text.index("each on its own") < text.index("4.8 points")


def test_columns_say_what_their_share_is(project):
    """'artefacts 100%' reads as if every picture were spoilt."""
    page = page_of(project)
    html, text = str(matrix.PLUGIN.html(page)), matrix.PLUGIN.markdown(page)
    head = re.search(r"<thead>(.*?)</thead>", html, re.DOTALL)[1]
    for name, said in matrix.WHOLE_WORDS.items():
        if name in page.capabilities:
            assert re.search(rf"{name}.*?{said}", head, re.DOTALL)
            assert f"{name} ({said})" in text.splitlines()[0]
    assert set(page.capabilities) & set(matrix.WHOLE_WORDS)


def test_what_is_not_trained_yet_has_no_known_gaps():
    def said(decision, left=()):
        return options.gaps(Option(decision, "", "", gaps=left))

    assert said("existing") == "none measured"
    assert said("existing", ("camera",)) == "camera"
    assert said("custom") == "unknown until it is trained"
    assert said("hybrid", ("camera",)) == "camera, until trained"


def test_a_row_that_did_no_edit_has_no_share_of_kept_ones(project):
    row = project.given.findings.candidates[0]
    assert pareto.given(replace(row, p_edit=0.0, p_identity_given_edit=None)) == "no edit done"
    assert pareto.given(replace(row, p_edit=None, p_identity_given_edit=None)) == "not measured"
    assert pareto.given(replace(row, p_edit=0.5, p_identity_given_edit=0.25)) == "25%"


def test_dots_are_explained_by_what_is_drawn(project):
    page = page_of(project)
    kinds = [kind for kind, _ in pareto.legend(page)]
    assert set(kinds) == set(re.findall(r'<circle class="point (\w+)" cx="\d+\.', str(pareto.PLUGIN.html(page))))


def test_a_small_dot_is_not_hidden_behind_a_large_one(project):
    """The fast base vanished behind slower rows with the same rates."""
    rows = project.given.findings.candidates
    alike = tuple(replace(row, p_edit=0.5, p_identity=1.0, seconds_per_image=1.0 + 9 * number)
                  for number, row in enumerate(rows[:3]))
    page = page_of(project, candidates=alike)
    radii = [float(r) for r in re.findall(r'r="([\d.]+)"><title>', str(pareto.PLUGIN.html(page)))]
    assert len(radii) == 3
    assert radii == sorted(radii, reverse=True)
    assert radii[0] > radii[-1]


def test_further_measurements_have_a_unit_and_a_direction(project):
    rows = tuple(replace(row, means={"drift/zoom": 0.0002, "following/copy": 0.5, "no/metric": 2.0})
                 for row in project.given.findings.candidates)
    page = page_of(project, candidates=rows)
    lines = measures.PLUGIN.markdown(page).splitlines()
    zoom = next(line for line in lines if "drift/zoom" in line)
    assert "% of the diagonal; lower is better" in zoom
    assert "<0.001" in zoom
    assert next(line for line in lines if "following/copy" in line).count("better") == 0
    assert next(line for line in lines if line.startswith("| no: metric |"))


def test_a_moment_is_no_zero():
    assert words.seconds(0.004) == "<0.1 s"
    assert words.seconds(0.0) == "0.0 s"
    assert words.seconds(0.05) == "0.1 s"
    assert words.mean(0.0) == "0"
    assert words.mean(0.00004) == "<0.001"
    assert words.mean(-0.00004) == words.figure(-0.00004)
