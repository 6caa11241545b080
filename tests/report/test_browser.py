"""The page in a real browser, from file://, with nothing outside asked for and nothing complained about."""

import re
from dataclasses import replace

import pytest
from PIL import Image

from report.fixture import build
from report.hostile import PAYLOADS
from whichlora.report.html import write_report
from whichlora.report.live import update_live, write_live_page
from whichlora.report.templates import ASSETS
from whichlora.report.words import clean

pytestmark = pytest.mark.browser

TITLE = "#viewer-title"


def box(page, selector):
    return page.locator(selector).first.bounding_box()


def layers(page):
    """Places of the pictures on the stage, and how they are laid."""
    return page.evaluate("""[...document.querySelectorAll('#stage .layer:not(.peek) img')].map((image) => {
        const r = image.getBoundingClientRect();
        const style = image.parentElement.style;
        return {x: r.x, y: r.y, w: r.width, h: r.height, src: image.src.split('/').pop(), clip: style.clipPath,
                blend: style.mixBlendMode, opacity: style.opacity};
    })""")


def open_viewer(page, place=1):
    page.locator("#strip button.shot").nth(place).click()
    page.wait_for_selector("#viewer[open] #stage img")


# ------------------------------------------------------------------ the first screen


def test_everything_that_matters_is_on_the_first_screen(written, watch):
    page = watch(written.index)
    for part in ("#verdict h1", "#verdict .pill", "#strip .strip", "#matrix-table", "#matrix .key"):
        place = box(page, part)
        assert place["y"] + place["height"] <= 800, part
        assert place["x"] + place["width"] <= 1280, part
    assert page.locator("#strip .row").count() == 3
    assert page.locator("#strip img").evaluate_all("(all) => all.every((one) => one.complete && one.naturalWidth > 0)")


@pytest.mark.parametrize("width", [360, 390, 768, 1024])
def test_no_page_scrolls_sideways(written, watch, width):
    page = watch(written.index, viewport={"width": width, "height": 844}, is_mobile=width < 700)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("window.innerWidth") == width


def test_a_phone_shows_verdict_pictures_and_the_matrix_begins(written, watch):
    page = watch(written.index, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert box(page, "#strip .strip")["y"] + box(page, "#strip .strip")["height"] < 700
    assert box(page, "#matrix-table tbody tr:nth-child(3)")["y"] < 844


# ------------------------------------------------------------------ keyboard


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


# ------------------------------------------------------------------ zoom and comparison


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


# ------------------------------------------------------------------ buttons


def test_a_failure_count_opens_exactly_its_pictures(project, written, watch):
    page = watch(written.index)
    button = page.locator(".failures button").first
    _, cells = max(project.given.findings.failures.items(), key=lambda item: len(item[1]))
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


# ------------------------------------------------------------------ for everybody


def test_a_screen_reader_can_use_the_matrix(project, written, watch):
    page = watch(written.index)
    table = page.get_by_role("table", name=re.compile("Share of pictures"))
    assert table.count() == 1
    assert table.get_by_role("columnheader").count() >= 7
    heads = table.get_by_role("rowheader")
    assert heads.count() == len(project.given.findings.candidates)
    row = next(row for row in project.given.findings.candidates if row.role == "candidate")
    spoken = table.get_by_role("row", name=row.name).first.inner_text()
    assert "on new photographs" in spoken
    assert "target" in spoken


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_name_and_every_picture_a_text(written, watch, scheme):
    page = watch(written.index, color_scheme=scheme)
    open_viewer(page)
    nameless = page.evaluate("""[...document.querySelectorAll('button, select, input, a')].filter((one) =>
        !(one.textContent.trim() || one.getAttribute('aria-label') || (one.labels && one.labels.length)
          || one.id === 'viewer-with')).map((one) => one.outerHTML)""")
    assert nameless == []
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("svg:not([aria-hidden]):not([role])").count() == 0


def luminance(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("ink", "paper"),
        ("quiet", "paper"),
        ("better", "paper"),
        ("worse", "paper"),
        ("better", "better-soft"),
        ("worse", "worse-soft"),
        ("quiet", "better-soft"),
        ("quiet", "worse-soft"),
        ("ink", "card"),
    ],
)
def test_colours_can_be_read(scheme, ink, paper):
    """WCAG 2 contrast of at least 4.5 for small text."""
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme == "dark"]))
    one, other = sorted((luminance(colours[ink]), luminance(colours[paper])))
    assert (other + 0.05) / (one + 0.05) >= 4.5


def test_the_page_reads_without_scripts(project, written, watch):
    page = watch(written.index, java_script_enabled=False)
    assert project.given.findings.recommendation.sentence in page.inner_text("h1")
    assert page.locator("#matrix-table tbody tr").count() == len(project.given.findings.candidates)


# ------------------------------------------------------------------ hostile texts


def test_no_payload_runs_anywhere(hostile_written, watch):
    assert len(PAYLOADS) >= 50
    page = watch(hostile_written.index)
    page.locator("details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
    names = page.evaluate("window.whichlora.candidates.map((one) => one.name)")
    assert names == ["base", *[clean(payload) for payload in dict.fromkeys(PAYLOADS)]]
    elements = page.evaluate("document.querySelectorAll('script').length")
    page.locator("#grid-next").evaluate("(one) => { for (let n = 0; n < 90; n += 1) one.click(); }")
    page.locator("#strip button.shot[data-cell]").first.click()
    for _ in range(len(names)):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("m")
    for mode in "lfds":
        page.keyboard.press(mode)
    page.keyboard.press("Escape")
    page.locator(".failures button").evaluate_all("(all) => all.forEach((one) => one.click())")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit") is None
    assert page.evaluate("document.querySelectorAll('script').length") == elements == 4
    for bad in (
        "iframe",
        "object",
        "embed",
        "base",
        "form:not(#grid-pick)",
        "video",
        "audio",
        "style",
        "math",
        "marquee",
        "textarea",
    ):
        assert page.locator(bad).count() == 0, bad
    handlers = page.evaluate("""[...document.querySelectorAll('*')].flatMap((one) => [...one.attributes])
        .filter((one) => one.name.startsWith('on') || /^javascript:/i.test(one.value)).map((one) => one.name)""")
    assert set(handlers) <= {"title", "data-title", "aria-label", "data-family", "label"}
    assert page.url == hostile_written.index.as_uri()


def test_payloads_are_shown_as_they_are(hostile_written, watch):
    page = watch(hostile_written.index)
    shown = page.locator("#matrix-table tbody th bdi").evaluate_all("(all) => all.map((one) => one.title)")
    assert shown[1:] == [clean(payload) for payload in dict.fromkeys(PAYLOADS)]


def test_the_policy_forbids_what_it_should(written, watch):
    html = written.index.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    assert "unsafe" not in policy
    assert "default-src &#39;none&#39;" in policy
    assert not re.search(r"https?:", policy)
    assert html.index("Content-Security-Policy") < html.index("<link")


# ------------------------------------------------------------------ live page


def test_the_live_page_follows_a_run(project, tmp_path, watch):
    images = [project.given.image_path(made.image) for made in project.given.generations.values() if made.image]
    folder = tmp_path / "live"
    live = write_live_page(folder)
    for n, path in enumerate(images[:2]):
        (folder / f"{n}.png").write_bytes(path.read_bytes())
    page = watch(live)
    page.wait_for_function("document.querySelector('#stage').textContent === 'Starting'")
    pair = {"prompt": PAYLOADS[0], "candidate": PAYLOADS[6], "base": folder / "0.png"}
    update_live(folder, {"project": "p", "stage": "Generating", "planned": 4, "done": 1, "eta_s": 30, "pairs": [pair]})
    page.wait_for_selector(".pair img")
    assert "1 of 4 pictures · about 30 s left" in page.inner_text("#tell")
    assert "to come" in page.inner_text(".pair")
    update_live(
        folder,
        {
            "planned": 4,
            "done": 4,
            "finished": True,
            "report": "index.html",
            "pairs": [{**pair, "picture": folder / "1.png"}],
        },
    )
    page.wait_for_selector("#done a")
    assert page.locator(".pair img").count() == 2
    assert page.locator("#report").get_attribute("href") == "./index.html"
    assert PAYLOADS[0] in page.inner_text(".pair q")
    assert page.evaluate("window.hit") is None


def test_scripts_never_write_markup():
    for script in ASSETS.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\(|XMLHttp", text
        )
