"""The report as everybody can read it, in a real browser: contrast, tables, headings, targets, nothing cut."""

from dataclasses import replace

import pytest

from report.test_further_sections import more
from whichlora.report.html import write_report

pytestmark = pytest.mark.browser

CONTRAST = r"""() => {
  const parse = (text) => {
    const part = text.match(/[\d.e-]+/g).map(Number), scale = text.startsWith("color(") ? 255 : 1;
    return [part[0] * scale, part[1] * scale, part[2] * scale, part.length > 3 ? part[3] : 1];
  };
  const over = (a, b) => [...[0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])), 1];
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((v) => v / 255).map((v) => (
      v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const faint = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, option, .unseen")) continue;
    const style = getComputedStyle(element), paper = behind(element);
    const ink = over(parse(element.closest("svg") ? style.fill : style.color), paper);
    const [low, high] = [light(ink), light(paper)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) faint.add(`${element.className.baseVal ?? element.className} ${ratio.toFixed(2)}`);
  }
  return [...faint];
}"""

MEANING = """() => {
  const wrong = [];
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption) wrong.push("no caption: " + table.closest("section").id);
    for (const head of table.querySelectorAll("th")) if (!head.scope) wrong.push("no scope: " + head.textContent);
    for (const row of table.tBodies[0].rows)
      if (!row.querySelector("th")?.textContent.trim()) wrong.push("nameless row");
  }
  for (const part of document.querySelectorAll(".scroll"))
    if (part.tabIndex !== 0 || !part.getAttribute("aria-label")) wrong.push("cannot be scrolled by keyboard");
  let before = 0;
  for (const head of document.querySelectorAll("main :is(h1, h2, h3, h4)")) {
    const level = Number(head.tagName[1]);
    if (level > before + 1) wrong.push(`heading ${before} to ${level}: ${head.textContent}`);
    before = level;
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  if (new Set(ids).size < ids.length) wrong.push("an id twice");
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(link.hash.slice(1))) wrong.push("dead " + link.hash);
  for (const one of document.querySelectorAll("main button, select, nav a")) {
    const place = one.getBoundingClientRect();
    if (place.width && (place.width < 24 || place.height < 23.9)) wrong.push("small: " + one.outerHTML.slice(0, 60));
  }
  return wrong;
}"""


@pytest.fixture(scope="module")
def whole(project, tmp_path_factory):
    """A report in which further rounds, a truth and slow rows stand too."""
    rows = [replace(row, truth=0.5) if row.role != "control" else row for row in project.given.findings.candidates]
    given = replace(project.given, more=more("angles & relight"),
                    findings=replace(project.given.findings, candidates=tuple(rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whichlora.report.plots.PLOTS", {})  # they have a test of their own
        return write_report(given, tmp_path_factory.mktemp("whole") / "report")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(whole, watch, scheme):
    """WCAG 2 contrast of 4.5, measured on what the browser paints, the viewer included."""
    page = watch(whole.index, color_scheme=scheme)
    page.locator("details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
    assert page.evaluate(CONTRAST) == []
    page.locator("#strip button.shot").nth(1).click()
    for mode in "slfd":
        page.keyboard.press(mode)
        assert page.evaluate(CONTRAST) == []


def test_tables_headings_and_targets_mean_something_to_everybody(whole, watch):
    page = watch(whole.index)
    page.locator("details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
    assert page.evaluate(MEANING) == []


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_the_matrix_is_whole_with_its_truth(whole, watch, width):
    """The last column was cut at 1280 pixels."""
    page = watch(whole.index, viewport={"width": width, "height": 800})
    edge = page.locator("#matrix .scroll").evaluate("(one) => one.getBoundingClientRect().right")
    assert page.locator("#matrix-table .truth").count() > 2
    for cell in page.locator("#matrix-table tr > :last-child").all():
        place = cell.bounding_box()
        assert place["x"] + place["width"] <= edge + 0.5
    assert page.locator("#matrix .scroll").evaluate("(one) => one.scrollWidth <= one.clientWidth")
