"""The page in a real browser, from file://, with nothing outside asked for and nothing complained about."""

import re

import pytest

from report.hostile import PAYLOADS
from report.looking import box, open_viewer
from whichlora.report.live import update_live, write_live_page
from whichlora.report.templates import ASSETS
from whichlora.report.words import clean

pytestmark = pytest.mark.browser


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
    names = page.locator("#matrix-table button.open").evaluate_all("(all) => all.map((one) => one.textContent.trim())")
    assert len(set(names)) == len(names), "a list of buttons must tell them apart"


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
    assert page.evaluate("document.querySelectorAll('script').length") == elements == 5
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
