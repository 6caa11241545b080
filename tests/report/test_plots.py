"""Plots are drawn for any names, show what is stored and keep to a legible size."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from PIL import Image

from whichlora.report.page import Page
from whichlora.report.pictures import NO_PICTURES
from whichlora.report.plots import MOST_COLUMNS, MOST_ROWS, PLOTS, write_plots
from whichlora.report.scatter import BOTTOM, LEFT, RIGHT, TOP, scatter


@pytest.mark.parametrize("world", ["project", "hostile"])
def test_every_plot_as_svg_and_png(world, request, tmp_path):
    given = getattr(request.getfixturevalue(world), "given", request.getfixturevalue(world))
    rows = given.findings.candidates
    if world == "hostile":  # names that are hard on a renderer: mathematics, controls, surrogates, other scripts
        rows = (rows[0], *(row for row in rows if not row.name.isascii() or "$" in row.name or "\x00" in row.name))
        assert len(rows) >= 7
    given = replace(given, findings=replace(given.findings, candidates=rows))
    written = write_plots(Page(given, NO_PICTURES), tmp_path)
    assert {path.name for path in written} == {f"{name}.{kind}" for name in PLOTS for kind in ("svg", "png")}
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert max(picture.size) < 5000
        else:
            tree = ElementTree.parse(path)
            assert not any(node.tag.endswith(("script", "foreignObject", "image")) for node in tree.iter())
            addresses = [value for node in tree.iter() for name, value in node.attrib.items() if name.endswith("href")]
            assert all(address.startswith("#") for address in addresses)


def test_a_plot_says_what_it_leaves_out(hostile):
    figure = PLOTS["matrix"](Page(hostile, NO_PICTURES))
    assert len(figure.axes) == MOST_COLUMNS + 1
    assert len(figure.axes[0].get_yticks()) <= MOST_ROWS + 1
    assert "Left out:" in figure.axes[0].texts[-1].get_text()


def test_dots_lie_where_the_rates_say(project):
    drawn = scatter(project.given.findings.candidates, [])
    for dot in drawn.dots:
        for tick in drawn.x_ticks:
            assert (dot.x - tick.at) * (dot.edit - tick.rate) >= -1e-6
        for tick in drawn.y_ticks:
            assert (tick.at - dot.y) * (dot.identity - tick.rate) >= -1e-6
        assert LEFT <= dot.x <= RIGHT
        assert TOP <= dot.y <= BOTTOM


def test_dot_area_follows_seconds(project):
    rows = [
        replace(row, seconds_per_image=t) for row, t in zip(project.given.findings.candidates, (1.0, 4.0), strict=False)
    ]
    small, large = scatter(rows, []).dots
    assert small.r < large.r


def test_labels_cover_neither_dots_nor_each_other(project):
    drawn = scatter(project.given.findings.candidates, [])
    boxes = []
    for dot in drawn.dots:
        width = len(dot.label) * 6.6
        left = {"start": dot.label_x, "end": dot.label_x - width}.get(dot.anchor, dot.label_x - width / 2)
        boxes.append((left, dot.label_y - 11, left + width, dot.label_y + 3))
    for n, one in enumerate(boxes):
        for other in boxes[n + 1 :]:
            assert min(one[2], other[2]) <= max(one[0], other[0]) or min(one[3], other[3]) <= max(one[1], other[1])


def test_the_front_holds_rows_that_nothing_beats(project):
    rows = project.given.findings.candidates
    placed = [
        replace(rows[1], name=name, p_edit=x, p_identity=y, role="candidate")
        for name, x, y in (("a", 0.9, 0.5), ("b", 0.5, 0.9), ("c", 0.4, 0.4), ("d", 0.8, 0.8))
    ]
    drawn = scatter(placed, [])
    at = {dot.name: f"{dot.x},{dot.y}" for dot in drawn.dots}
    assert set(drawn.front.split()) == {at["a"], at["b"], at["d"]}


def test_rows_without_rates_are_not_drawn_at_zero(project):
    rows = [replace(row, p_edit=None) for row in project.given.findings.candidates]
    assert scatter(rows, []).dots == ()
