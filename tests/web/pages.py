"""Walking the review's pages in a browser, waiting for conditions and never for moments."""

from playwright.sync_api import Error

from whichlora.review.votes import from_row
from whichlora.store import Store

SECRETS = ("zebra", "quagga", "okapi", "control-nothing", "refs/", "photo-", "store.sqlite", "c1-")


def until(page, script, arg=None, timeout=10000):
    """Wait for a condition. The pages' policy forbids Playwright's own way, which evaluates text inside the page.

    Between two pages there is no body yet, and a question asked then fails or loses its page: it is asked again."""
    failed = None
    for _ in range(timeout // 50):
        try:
            if page.evaluate(script, arg):
                return
            failed = None
        except Error as said:
            failed = said
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {script}") from failed


def begin(page, server, name="Ada"):
    page.goto(server.link())
    page.fill("#name", name)
    page.press("#name", "Enter")
    page.wait_for_selector("#passes .pass")


def open_pairs(page, number=0):
    page.locator("#passes .pass").nth(number).click()
    ready(page)


def ready(page):
    """Wait until the page takes keys: it says that it is not busy, and both pictures are there."""
    until(page, """() => { const all = [...document.querySelectorAll('#stage img, #lineup img')];
        return document.body.getAttribute('aria-busy') === 'false' && all.length >= 2
            && all.every((one) => one.complete && one.naturalWidth > 0); }""")


def press(page, key):
    """Press a key that answers, and wait for the next pair."""
    before = page.locator("#stage img").first.get_attribute("src")
    page.keyboard.press(key)
    until(page, "(old) => { const now = document.querySelector('#stage img'); return now && now.src !== old; }",
                           arg=page.evaluate("(src) => new URL(src, location).href", before))
    ready(page)


def votes(folder, rater=None):
    with Store(folder) as store:
        said = [vote for row in store.votes() if (vote := from_row(row)) is not None]
    return [vote for vote in said if rater in (None, vote.rater)]
