"""A real browser on the real server: sessions by keyboard, blinding, two voters, hostile texts, the viewer."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from review import planted
from web.pages import SECRETS, begin, open_pairs, press, ready, until, votes
from web.serving import running
from whichlora.plan.codec import plan_to_json
from whichlora.review.votes import PairVote, Rating, standing
from whichlora.store import Store
from whichlora.types import Generation, Score

pytestmark = [pytest.mark.browser]


def test_thirty_votes_by_keyboard_with_a_reload_in_the_middle(page, project):
    folder, plan, server = project
    begin(page, server, "Thirty")
    open_pairs(page)
    keys = (["1", "2", "ArrowLeft", "ArrowRight", "ArrowDown", "x"] * 5)[:30]
    for number, key in enumerate(keys):
        if number == 15:
            shown = page.locator("#stage img").evaluate_all("all => all.map((one) => one.src)")
            page.reload()
            ready(page)
            assert page.locator("#stage img").evaluate_all("all => all.map((one) => one.src)") == shown
        press(page, key)
    given = [vote for vote in votes(folder, "Thirty") if isinstance(vote, PairVote)]
    assert len(given) == 30
    expected = {"1": "left", "2": "right", "ArrowLeft": "left", "ArrowRight": "right", "ArrowDown": "tie",
                "x": "both-bad"}
    assert [vote.answer for vote in given] == [expected[key] for key in keys]
    assert page.locator("#progress").inner_text().startswith("30 votes")
    cells = {cell.id: cell for cell in plan.cells}
    sides = [cells[vote.left].candidate < cells[vote.right].candidate for vote in given]
    assert 5 <= sum(sides) <= 25  # sides are random
    assert page.problems == []


def test_undo_skip_flip_and_source(page, project):
    folder, _, server = project
    begin(page, server, "Undoer")
    open_pairs(page, 1)
    shown = page.locator("#stage .layer.under img").evaluate_all("all => all.map((one) => one.src)")
    page.keyboard.press("f")
    ready(page)
    flipped = page.locator("#stage .layer.under img").evaluate_all("all => all.map((one) => one.src)")
    assert flipped == shown[::-1]
    press(page, "1")
    press(page, "z")
    press(page, "s")
    said = votes(folder, "Undoer")
    assert [getattr(vote, "answer", "undo") for vote in said] == ["left", "undo", "skip"]
    assert page.locator("#stage .layer.peek").first.is_hidden()
    page.keyboard.down(" ")
    assert page.locator("#stage .layer.peek").first.is_visible()
    page.keyboard.up(" ")
    assert page.locator("#stage .layer.peek").first.is_hidden()
    page.keyboard.down("1")
    for _ in range(6):
        page.wait_for_timeout(150)
        page.keyboard.down("1")  # a key that is held down votes once, also when the next pair has come
    page.keyboard.up("1")
    page.wait_for_timeout(300)
    assert sum(isinstance(vote, PairVote) for vote in votes(folder, "Undoer")) == 3


def test_no_name_reaches_a_blind_page(page, project):
    _, plan, server = project
    seen, addresses = {}, []
    page.on("request", lambda request: addresses.append(request.url + str(request.headers) + (request.post_data or "")))

    def keep(route):
        answer = route.fetch()
        seen[route.request.url] = (str(answer.headers), answer.body())
        route.fulfill(response=answer)

    page.route("**/*", keep)
    begin(page, server, "Blind")
    texts = []
    for number in range(3):
        page.goto(server.origin + "/")
        page.wait_for_selector("#passes .pass")
        open_pairs(page, number)
        for key in "12x":
            texts.append(page.content())
            press(page, key)
    for path in ("/rate", "/extremes"):
        page.goto(server.origin + path)
        page.wait_for_selector("#stage img, #lineup img")
        page.wait_for_timeout(400)
        texts.append(page.content())
    pictures = [url for url in seen if "/image/" in url]
    assert len(pictures) > 20
    told = [name.split("@")[0].split("-")[0] for name in planted.NAMES if name.endswith(("8", "2", "t"))]
    hashes = [cell.id for cell in plan.cells]
    for text in [*texts, *addresses, *(headers for headers, _ in seen.values())]:
        assert not [word for word in (*SECRETS, *told, *hashes) if word in text.lower()]
    for url, (_, body) in seen.items():
        if "/static/" in url:
            continue
        body = body.lower()
        assert not [word for word in (*SECRETS, *told) if word.encode() in body], url
        if "/image/" in url:
            assert b"text" not in body[:2000].replace(b"context", b"")
            assert b"base" not in body[:200]


def test_no_picture_id_repeats_from_the_viewer_on_a_blind_page(page, project):
    server = project[2]
    begin(page, server, "Peeker")
    named = set(page.evaluate("""async () => {
        const urls = [];
        for (let at = 0; at < 120; at += 1) {
            const told = await (await fetch("/api/cell?at=" + at)).json();
            urls.push(told.picture.url, told.thumb, told.source.url);
        }
        return urls; }"""))
    assert len(named) > 200
    page.goto(server.origin + "/pairs?question=identity")
    ready(page)
    blind = set(page.locator("#stage img").evaluate_all("all => all.map((one) => new URL(one.src).pathname)"))
    assert len(blind) >= 3
    assert not named & blind


def test_two_voters_at_once(chromium, project):
    folder, _, server = project
    context = chromium.new_context()
    pages = []
    for name in ("Left-hand", "Right-hand"):
        page = context.new_page()
        begin(page, server, name)
        open_pairs(page, 2)
        pages.append(page)
    for number in range(6):
        for page in pages:
            press(page, "12"[number % 2])
    context.close()
    count = Counter(vote.rater for vote in votes(folder) if vote.rater in ("Left-hand", "Right-hand"))
    assert count == {"Left-hand": 6, "Right-hand": 6}


def test_single_ratings_with_marks_and_a_note(page, project):
    folder, _, server = project
    begin(page, server, "Rater")
    page.goto(server.origin + "/rate")
    ready(page)
    page.keyboard.press("4")
    page.keyboard.press("2")
    box = page.locator("#stage .pane").last.locator(".layer.under img").bounding_box()
    width = min(box["width"], box["height"] * 96 / 128)
    x, y = box["x"] + box["width"] / 2 + width * 0.1, box["y"] + box["height"] * 0.25
    page.mouse.click(x, y)
    page.mouse.click(x, y + 90)
    page.mouse.click(x, y + 91)  # a click on a mark removes it
    assert page.locator("svg.marks circle").count() == 1
    page.keyboard.press("n")
    page.keyboard.type("too many fingers; z s 1 x")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#progress').textContent.startsWith('1 of')")
    ready(page)
    [vote] = [vote for vote in votes(folder, "Rater") if isinstance(vote, Rating)]
    assert (vote.identity, vote.edit, vote.note) == (4, 2, "too many fingers; z s 1 x")
    [(mx, my)] = vote.marks
    assert (mx, my) == (pytest.approx(0.6, abs=0.02), pytest.approx(0.25, abs=0.02))
    page.keyboard.press("z")
    until(page, "document.querySelector('#progress').textContent.startsWith('0 of')")
    assert not [v for v in standing(votes(folder)).ratings if v.rater == "Rater"]


def test_best_and_worst_by_keyboard(page, project):
    folder, _, server = project
    begin(page, server, "Picker")
    page.goto(server.origin + "/extremes")
    until(page, "document.querySelectorAll('#lineup button').length === 4")
    ready(page)
    page.keyboard.press("2")
    page.keyboard.press("4")
    assert page.locator(".tile.best kbd").inner_text() == "2"
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#progress').textContent.startsWith('1 of')")
    ready(page)
    [vote] = votes(folder, "Picker")
    assert (vote.cells.index(vote.best), vote.cells.index(vote.worst)) == (1, 3)


def payloads(count):
    """Cross-site-scripting payloads: seeds crossed with wrappers, each calling a function that must never run."""
    seeds = [
        "<script>hit({n})</script>", "<img src=x onerror=hit({n})>", "<svg onload=hit({n})>",
        "\"><script>hit({n})</script>",
        "'><img src=x onerror=hit({n})>", "javascript:hit({n})", "</title><script>hit({n})</script>",
        "<iframe srcdoc='<script>parent.hit({n})</script>'>",
        "<a href=javascript:hit({n}) autofocus onfocus=hit({n})>x</a>",
        "{{{{constructor.constructor('hit({n})')()}}}}", "${{hit({n})}}", "<details open ontoggle=hit({n})>",
        "`-hit({n})-`",
        "<style>@import'//evil.example/{n}'</style>", "<math><mtext><script>hit({n})</script>",
        "\\u003cscript\\u003ehit({n})",
        "<input autofocus onfocus=hit({n})>", "<body onpageshow=hit({n})>", "&lt;script&gt;hit({n})&lt;/script&gt;",
        "<object data=javascript:hit({n})>", "<video><source onerror=hit({n})>",
        "<link rel=stylesheet href=//evil.example/{n}>",
        "--><script>hit({n})</script>", "]]><script>hit({n})</script>", "<img/src/onerror=hit({n})>",
    ]
    wraps = ["{}", "a{}b", "\u202e{}", "{}\u2028", "  {}", "<b>{}</b>", "'{}'", "\"{}\"", "/*{}*/", "<!--{}"]
    made = [wrap.format(seed.format(n=at)) for at, (wrap, seed) in
            enumerate((wrap, seed) for wrap in wraps for seed in seeds)]
    return (made * (count // len(made) + 1))[:count]


def hostile_project(folder, texts):
    """A project whose candidate names, prompts, case ids, reasons, errors and notes are payloads."""
    names = ("base", *texts[:6])
    plan = planted.make_plan(names=names, photos=2, edits=10, seeds=(1,), project=texts[6])
    cases = tuple(replace(case, id=f"{at}{texts[7 + at]}", prompt=texts[30 + at]) for at, case in enumerate(plan.cases))
    cells = tuple(replace(cell, case=cases[[c.id for c in plan.cases].index(cell.case)].id) for cell in plan.cells)
    plan = replace(plan, cases=cases, cells=cells)
    planted.make_project(folder, plan, scores=False, upto=110)
    with Store(folder) as store:
        store.add_document("plan", plan_to_json(plan))
        for at, cell in enumerate(plan.cells[110:]):
            store.add_generation(Generation(cell.id, "failed", None, {}, 0, texts[60 + at % 40]))
        store.add_scores([
            Score(cell.id, f"identity/{texts[(at + 100) % len(texts)]}", 1, None, texts[(at + 200) % len(texts)], False,
                  "artefact", "", {"found": [{"kind": texts[at], "severity": "severe"}]})
            for at, cell in enumerate(plan.cells[:110])
        ])
    return plan


def test_hostile_texts_run_nowhere(page, tmp_path):
    texts = payloads(1000)
    folder = tmp_path / "p"
    hostile_project(folder, texts)
    with running(folder) as server:
        outside = []
        page.on("request", lambda request: outside.append(request.url))
        page.expose_function("hit", lambda *_: page.problems.append("SCRIPT RAN"))
        name = "<img src=x onerror=hit(0)>"
        begin(page, server, name)
        page.goto(server.origin + "/rate")
        ready(page)
        # Some go the whole way of a note; all go through the one function that writes texts, below.
        for at in range(8):
            page.fill("#note", texts[at * 120])
            page.press("#note", "Enter")
            until(page, f"document.querySelector('#progress').textContent.startsWith('{at + 1} of')")
            ready(page)
        page.goto(server.origin + "/pairs?question=edit")
        ready(page)
        for key in "12x1":
            press(page, key)
        page.goto(server.origin + "/extremes")
        page.wait_for_selector("#lineup img")
        page.goto(server.origin + "/viewer")
        page.wait_for_selector(".cell")
        until(page, "document.querySelectorAll('#filter option').length > 5")
        page.locator(".cell").nth(2).click()
        page.wait_for_selector("dialog[open] #stage .pane")
        for _ in range(6):
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(60)
        for _ in range(5):
            page.keyboard.press("ArrowDown")
            page.wait_for_timeout(60)
        page.keyboard.press("Escape")
        for value in page.locator("#filter option").evaluate_all("all => all.slice(1, 12).map((one) => one.value)"):
            page.select_option("#filter", value)
            page.wait_for_timeout(30)
        told = page.evaluate("""(all) => { const box = document.createElement('div'); document.body.append(box);
            all.forEach((text) => box.append(window.whichloraUi.element('span', '', text)));
            return box.querySelectorAll('*').length; }""", texts)
        assert told == 1000  # one element a text: none made another
        page.wait_for_timeout(300)
        assert [url for url in outside if not url.startswith(server.origin)] == []
        assert not [line for line in page.problems if "SCRIPT RAN" in line or re.search("refused|violates", line, re.I)]


def test_a_used_link_says_what_to_do(page, project):
    server = project[2]
    link = server.link()
    begin_context = page.context.browser.new_context()
    first = begin_context.new_page()
    first.goto(link)
    first.wait_for_selector("#name", state="visible")
    assert "#" not in first.url
    begin_context.close()
    page.goto(link)
    page.wait_for_selector("#trouble:not([hidden])")
    assert "each link works once" in page.locator("#trouble").inner_text()


@pytest.mark.parametrize("width", [1360, 390])
@pytest.mark.parametrize("path", ["/", "/pairs?question=identity", "/rate", "/extremes", "/viewer"])
def test_pages_fit_their_window(page, project, width, path):
    server = project[2]
    page.set_viewport_size({"width": width, "height": 844})
    begin(page, server, "Fitter")
    page.goto(server.origin + path)
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    if path != "/":
        assert page.evaluate("document.documentElement.scrollHeight <= window.innerHeight + 1")
