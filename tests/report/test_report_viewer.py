"""The viewer of the report in a real browser: keys, zoom, slider, difference, failures and marks."""

import re
from dataclasses import replace

import pytest
from PIL import Image

from report.fixture import build
from report.looking import TITLE, box, layers, open_viewer
from whichlora.report.html import write_report

pytestmark = pytest.mark.browser


def test_the_keyboard_walks_candidates_cases_and_seeds(project, written, watch):
    page = watch(written.index)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#strip button.shot").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open]")
    names = [row["name"] for row in page.evaluate("window.whichlora.candidates")]
    start = names.index(next(name for name in names if page.inner_text(TITLE).startswith(name + " · ")))
    for step in range(1, len(names) + 1):
        page.keyboard.press("ArrowRight")
        assert page.inner_text(TITLE).startswith(names[(start + step) % len(names)] + " · ")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text(TITLE).startswith(names[start - 1] + " · ")
    asked = page.inner_text("#viewer-asked")
    place = int(re.search(r"case (\d+) of", page.inner_text(TITLE))[1])
    cases = len(project.given.plan.cases)
    page.keyboard.press("ArrowDown")
    assert f"case {place % cases + 1} of {cases}" in page.inner_text(TITLE)
    page.keyboard.press("ArrowUp")
    assert page.inner_text("#viewer-asked") == asked
    page.keyboard.press(".")
    assert page.inner_text("#viewer-asked") != asked
    page.keyboard.press(".")
    assert page.inner_text("#viewer-asked") == asked
    page.keyboard.press("Escape")
    assert page.locator("#viewer[open]").count() == 0
    assert page.evaluate("document.activeElement.classList.contains('shot')")


def test_space_shows_the_source_while_it_is_held(written, watch):
    page = watch(written.index)
    open_viewer(page)
    peek = page.locator("#stage .layer.peek").last
    assert not peek.is_visible()
    page.keyboard.down("Space")
    assert peek.is_visible()
    source = page.locator("#stage .pane").first.locator(".layer:not(.peek) img").get_attribute("src")
    assert peek.locator("img").get_attribute("src") == source
    page.keyboard.up("Space")
    assert not peek.is_visible()


def test_the_grid_is_walked_with_arrows_and_space(written, watch):
    page = watch(written.index)
    first = page.locator("#grid button.shot:not(:disabled)").first
    first.focus()
    shown = first.locator("img").get_attribute("src")
    page.keyboard.down("Space")
    held = page.locator("#grid button.shot:not(:disabled)").first.locator("img").get_attribute("src")
    assert held == page.locator("#grid .shot.source img").first.get_attribute("src") != shown
    page.keyboard.up("Space")
    assert page.locator("#viewer[open]").count() == 0
    page.keyboard.press("ArrowRight")
    assert (
        page.evaluate(
            "[...document.querySelectorAll('#grid button.shot:not(:disabled)')].indexOf(document.activeElement)"
        )
        == 1
    )
    prompt = page.locator("#grid-case").evaluate("(one) => one.selectedIndex")
    page.keyboard.press("ArrowDown")
    assert page.locator("#grid-case").evaluate("(one) => one.selectedIndex") == prompt + 1
    assert page.evaluate("document.activeElement.classList.contains('shot')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open]")


def test_zoom_and_pan_move_every_pane_alike(written, watch):
    page = watch(written.index)
    open_viewer(page)
    before = layers(page)
    assert len({(round(one["w"]), round(one["h"])) for one in before}) == 1
    page.keyboard.press("+")
    page.keyboard.press("+")
    after = layers(page)
    for one, other in zip(before, after, strict=True):
        assert other["w"] == pytest.approx(one["w"] * 1.96, rel=1e-3)
    view = box(page, "#stage .view")
    page.mouse.move(view["x"] + 100, view["y"] + 100)
    page.mouse.down()
    page.mouse.move(view["x"] + 60, view["y"] + 80)
    page.mouse.up()
    for one, other in zip(after, layers(page), strict=True):
        assert other["x"] - one["x"] == pytest.approx(-40, abs=1)
        assert other["y"] - one["y"] == pytest.approx(-20, abs=1)
    page.keyboard.press("0")
    assert layers(page) == before


def test_the_wheel_zooms_at_the_pointer(written, watch):
    page = watch(written.index)
    open_viewer(page)
    view = box(page, "#stage .view")
    x, y = view["x"] + view["width"] * 0.25, view["y"] + view["height"] * 0.6
    one = layers(page)[0]
    share = ((x - one["x"]) / one["w"], (y - one["y"]) / one["h"])
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    page.wait_for_function(
        "new DOMMatrix(getComputedStyle(document.querySelector('#stage .layer img')).transform).a > 1.5"
    )
    other = layers(page)[0]
    assert ((x - other["x"]) / other["w"], (y - other["y"]) / other["h"]) == pytest.approx(share, abs=0.01)


def test_the_slider_lays_both_pictures_on_the_same_pixels(written, watch):
    page = watch(written.index)
    open_viewer(page)
    page.keyboard.press("l")
    under, over = layers(page)
    assert [under[k] for k in "xywh"] == [over[k] for k in "xywh"]
    assert under["src"] != over["src"]
    page.locator("#viewer-amount input").evaluate(
        "(one) => { one.value = '25'; one.dispatchEvent(new Event('input')); }"
    )
    share = float(re.search(r"([\d.]+)%\)$", layers(page)[1]["clip"])[1])
    width = box(page, "#stage .view")["width"]
    assert share == pytest.approx(25, abs=100 / width)
    assert share * width / 100 == pytest.approx(round(share * width / 100), abs=0.01)  # on a whole pixel
    view = box(page, "#stage .view")
    page.mouse.move(view["x"] + 300, view["y"] + 90)
    page.mouse.down()
    page.mouse.move(view["x"] + 500, view["y"] + 90)
    page.mouse.up()
    assert float(re.search(r"([\d.]+)%\)$", layers(page)[1]["clip"])[1]) == pytest.approx(100 * 500 / width, abs=0.5)
    page.keyboard.press("+")
    under, over = layers(page)
    assert [under[k] for k in "xywh"] == [over[k] for k in "xywh"]


def test_fade_and_difference(written, watch):
    page = watch(written.index)
    open_viewer(page)
    page.keyboard.press("f")
    assert layers(page)[1]["opacity"] == "0.5"
    page.keyboard.press("d")
    assert layers(page)[1]["blend"] == "difference"
    assert page.locator("[data-mode=difference]").get_attribute("aria-pressed") == "true"


def test_equal_pictures_have_a_black_difference(written, watch):
    page = watch(written.index)
    open_viewer(page)
    page.keyboard.press("d")
    page.evaluate(
        """async () => { const [under, over] = document.querySelectorAll('#stage .mix img'); over.src = under.src;
            await over.decode();
            await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))); }"""
    )
    view = box(page, "#stage .view")
    shot = page.screenshot(clip={**view, "y": view["y"] + 40, "height": view["height"] - 60})
    import io

    with Image.open(io.BytesIO(shot)) as picture:
        assert max(high for _, high in picture.convert("RGB").getextrema()) <= 2


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A project in which the base's pictures are smaller than the others."""
    project = build(tmp_path_factory.mktemp("uneven"), photos=1, seeds=1, size=32)
    given, generations = project.given, dict(project.given.generations)
    for cell in given.plan.cells:
        made = generations.get(cell.id)
        if cell.candidate == "base" and made and made.image:
            generations[cell.id] = replace(made, image=f"small-{made.image}")
            with Image.open(given.image_path(made.image)) as picture:
                picture.resize((24, 32)).save(given.image_path(f"small-{made.image}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whichlora.report.plots.PLOTS", {})
        return write_report(replace(given, generations=generations), tmp_path_factory.mktemp("uneven-out") / "r")


@pytest.mark.parametrize("key", ["l", "f", "d"])
def test_unequal_sizes_are_refused_with_both_sizes(uneven, watch, key):
    page = watch(uneven.index)
    open_viewer(page)
    page.keyboard.press(key)
    refusal = page.inner_text("#viewer-refused")
    assert "24 × 32 px" in refusal
    assert "32 × 32 px" in refusal
    assert page.locator("#stage .layer.over").count() == 0
    page.locator("#viewer-with").select_option("source")
    assert page.locator("#viewer-refused").is_hidden()
    assert page.locator("#stage .layer.over").count() == 1


def test_small_pictures_can_be_seen_as_pixels(written, watch):
    page = watch(written.index)
    open_viewer(page)
    rendering = "getComputedStyle(document.querySelector('#stage img')).imageRendering"
    assert page.evaluate(rendering) == "auto"
    page.keyboard.press("p")
    assert page.evaluate(rendering) == "pixelated"
    page.keyboard.press("1")
    assert layers(page)[0]["w"] > 0
    scale = page.evaluate("""() => { const image = document.querySelector('#stage img');
        const box = image.getBoundingClientRect();
        return Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight); }""")
    assert scale == pytest.approx(round(scale), abs=1e-3)


def test_a_failure_count_opens_exactly_its_pictures(project, written, watch):
    page = watch(written.index)
    button = page.locator(".failures button").first
    plan = project.given.plan
    controls = {row.name for row in plan.candidates if row.role == "control"}  # they must fail, and are not counted
    compared = {cell.id for cell in plan.cells if cell.candidate not in controls}
    cells = max((compared & set(cells) for cells in project.given.findings.failures.values()), key=len)
    assert str(len(cells)) in button.inner_text()
    button.click()
    seen = set()
    for _ in cells:
        title, asked = page.inner_text(TITLE), page.inner_text("#viewer-asked")
        assert f"of {len(cells)}" in title
        seen.add((title.split(" · ")[0], asked))
        page.keyboard.press("ArrowDown")
    wanted = set()
    for cell in project.given.plan.cells:
        if cell.id in cells:
            case = next(case for case in project.given.plan.cases if case.id == cell.case)
            wanted.add((cell.candidate, f"“{case.prompt}” · {case.family} · seed {cell.seed}"))
    assert seen == wanted


def test_a_figure_of_the_matrix_opens_its_capability(project, written, watch):
    page = watch(written.index)
    page.locator('#matrix-table button.open[data-family="lighting"]').nth(2).click()
    photos = len(project.given.plan.sources)
    assert re.search(rf"lighting, 1 of {photos}$", page.inner_text(TITLE))
    for _ in range(photos):
        assert "lighting" in page.inner_text("#viewer-asked")
        page.keyboard.press("ArrowDown")


def test_sorting_leaves_missing_figures_last(written, watch):
    page = watch(written.index)
    head = page.locator("#matrix-table thead button", has_text="background")
    for order in ("descending", "ascending"):
        head.click()
        cell = page.locator("#matrix-table thead th", has_text="background")
        assert cell.get_attribute("aria-sort") == order
        column = cell.evaluate("(one) => one.cellIndex")
        values = page.locator("#matrix-table tbody tr").evaluate_all(
            "(rows, column) => rows.map((row) => Number(row.cells[column].dataset.value))", column
        )
        known = [value for value in values if value >= 0]
        assert known == sorted(known, reverse=order == "descending")
        assert values[len(known) :] == [-1] * (len(values) - len(known))
        assert len(known) < len(values)


def test_a_picture_that_failed_says_why(project, written, watch):
    page = watch(written.index)
    failed = next(made for made in project.given.generations.values() if made.status == "failed")
    number = [cell.id for cell in project.given.plan.cells].index(failed.cell)
    page.evaluate("(n) => window.whichloraUi.open(window.whichlora.cells[n])", number)
    assert failed.error in page.inner_text("#stage")
    page.keyboard.press("d")
    assert "has no picture" in page.inner_text("#viewer-refused")


def test_marks_lie_where_the_metric_points(project, written, watch):
    page = watch(written.index)
    number = next(
        n
        for n, cell in enumerate(project.given.plan.cells)
        if any(score.detail.get("regions") for score in project.given.scores.get(cell.id, ()))
    )
    page.evaluate("(n) => window.whichloraUi.open(window.whichlora.cells[n])", number)
    assert page.locator("#stage rect").count() == 0
    page.keyboard.press("m")
    mark, image = box(page, "#stage rect"), page.locator("#stage .pane").last.locator("img").first.bounding_box()
    side = min(image["width"], image["height"])  # the picture is square and fitted into the middle
    left, top = image["x"] + (image["width"] - side) / 2, image["y"] + (image["height"] - side) / 2
    assert mark["x"] == pytest.approx(left + side / 4, abs=3)
    assert mark["y"] == pytest.approx(top + side / 4, abs=3)
    assert mark["width"] == pytest.approx(side * 21 / 64, abs=5)
