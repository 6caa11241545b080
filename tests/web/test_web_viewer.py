"""The matrix and its viewer in a real browser: axes, filters, comparing, live pictures, never everything at once."""

import pytest

from review import planted
from web.pages import begin, until
from web.serving import running
from whichlora.store import Store
from whichlora.types import Generation

pytestmark = pytest.mark.browser


def test_the_viewer_swaps_axes_filters_and_compares(page, project):
    server = project[2]
    begin(page, server, "Viewer")
    page.goto(server.origin + "/viewer")
    page.wait_for_selector(".cell img")
    assert "zebra-angles@0.8" in page.locator("#sides").inner_text()
    page.click("#swap")
    until(page, "document.querySelector('#heads').textContent.includes('zebra')")
    page.wait_for_selector(".cell img")
    page.select_option("#columns", "seed")
    until(page, "document.querySelector('#heads').textContent.includes('seed 2')")
    until(page, "[...document.querySelectorAll('#filter option')].some((one) => one.value === 'identity lost')")
    page.select_option("#filter", "identity lost")
    page.wait_for_selector("#found .cell")
    assert all("identity lost" in text for text in page.locator("#found .cell .said").all_inner_texts())
    page.locator("#found .cell").first.click()
    page.wait_for_selector("dialog[open] #stage img")
    assert page.locator("#viewer-scores").inner_text().count("identity/figure") == 1
    assert page.locator("#stage .pane").count() >= 2
    for key, mode in (("l", "slider"), ("f", "fade"), ("d", "difference")):
        page.keyboard.press(key)
        until(page, f"document.querySelector('[data-mode={mode}]').getAttribute('aria-pressed') === 'true'")
        page.wait_for_selector("#stage .layer.over img")
    words = "['#viewer-asked', '#viewer-title'].map((id) => document.querySelector(id).textContent).join()"
    before = page.evaluate(words)
    page.keyboard.press("ArrowRight")
    until(page, f"(old) => {words} !== old", arg=before)
    page.keyboard.press("s")
    until(page, "document.querySelectorAll('#stage .pane').length >= 2")
    page.keyboard.press("+")
    moved = page.locator("#stage .layer.under img").evaluate_all("all => all.map((one) => one.style.transform)")
    assert len(set(moved)) == 1  # one zoom for all
    assert "scale(1.4)" in moved[0]
    page.keyboard.press("Escape")
    assert page.problems == []


def test_several_pictures_side_by_side(page, project):
    server = project[2]
    begin(page, server, "Many")
    page.goto(server.origin + "/viewer")
    page.wait_for_selector(".cell img")
    for number in (0, 1, 2, 5):
        page.locator(".cell").nth(number).click(modifiers=["Shift"])
    page.click("#compare")
    until(page, "document.querySelectorAll('#stage .pane').length === 4")
    sizes = page.locator("#stage .view").evaluate_all("all => all.map((one) => Math.round(one.clientWidth))")
    assert max(sizes) - min(sizes) <= 1


@pytest.fixture
def uneven(tmp_path):
    plan = planted.make_plan(names=("base", "other"), photos=1, edits=1, seeds=(1,))
    planted.make_project(tmp_path / "p", plan, upto=1)
    with Store(tmp_path / "p") as store:
        image = store.images.put(planted.png("larger", (9, 99, 199), (104, 128)))
        store.add_generation(Generation(plan.cells[1].id, "done", image, {}, 0))
    with running(tmp_path / "p") as server:
        yield server


def test_pictures_of_unequal_size_are_not_laid_over_each_other(page, uneven):
    begin(page, uneven, "Exact")
    page.goto(uneven.origin + "/viewer")
    until(page, "document.querySelectorAll('.cell img').length === 2")
    page.locator(".cell").nth(1).click()
    page.wait_for_selector("dialog[open] #stage img")
    for key in "lfd":
        page.keyboard.press(key)
        until(page, "!document.querySelector('#viewer-refused').hidden")
        assert "Not the same size" in page.locator("#viewer-refused").inner_text()
        assert page.locator("#stage .layer.over").count() == 0


def test_pictures_appear_while_a_run_goes_on(page, tmp_path):
    plan = planted.make_plan(photos=1, edits=2, seeds=(1,))
    planted.make_project(tmp_path / "p", plan, upto=2)
    with running(tmp_path / "p") as server:
        begin(page, server, "Live")
        page.goto(server.origin + "/viewer")
        until(page, "document.querySelectorAll('.cell img').length === 2")
        with Store(tmp_path / "p") as run:
            for number, cell in enumerate(plan.cells[2:5]):
                image = run.images.put(planted.png(f"new {number}", (50, 60, 70)))
                run.add_generation(Generation(cell.id, "done", image, {}, 0))
        until(page, "document.querySelectorAll('.cell img').length === 5", timeout=15000)
        assert page.locator("#live").inner_text().startswith("5 of 10")


def test_the_matrix_never_loads_everything(page, tmp_path):
    plan = planted.make_plan(names=("base", *(f"n{n}" for n in range(5))), photos=10, edits=6, seeds=(1,))
    folder = tmp_path / "p"
    planted.make_project(folder, plan, upto=0)
    with Store(folder) as store:
        images = [store.images.put(planted.png(str(n), (n * 20, 90, 90))) for n in range(8)]
        for number, cell in enumerate(plan.cells):
            store.add_generation(Generation(cell.id, "done", images[number % 8], {}, 0))
    with running(folder) as server:
        begin(page, server, "Lazy")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.origin + "/viewer")
        page.wait_for_selector(".cell img")
        page.wait_for_timeout(500)
        assert page.locator(".cell").count() < 150
        assert sum("/api/block" in url for url in asked) <= 8
        page.evaluate("document.querySelector('#matrix').scrollTo(99999, 99999)")
        until(page, "document.querySelector('#heads').textContent.includes('photo-9/edit-5')")
        page.wait_for_selector(".cell img")
        assert page.locator(".cell").count() < 150
