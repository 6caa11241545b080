"""Projects and browsers for the report's tests."""

import pytest

from report.fixture import build
from report.hostile import build_hostile
from whichlora.report.html import write_report


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A small made-up project with a failed, an unmade and an unscored cell."""
    return build(tmp_path_factory.mktemp("project"), photos=3, seeds=2, size=64)


@pytest.fixture(scope="session")
def written(project, tmp_path_factory):
    """Its HTML report."""
    return write_report(project.given, tmp_path_factory.mktemp("out") / "report")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A project in which every text is an attack."""
    return build_hostile(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def hostile_written(hostile, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whichlora.report.plots.PLOTS", {})  # they have a test of their own
        return write_report(hostile, tmp_path_factory.mktemp("hostile-out") / "report")


class Watched:
    """A page with everything that it said and asked for."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.context.on("page", lambda page: self.complaints.append(f"opened {page.url}"))

    def open(self, path):
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture
def watch(chromium):
    """Open pages that may neither complain nor ask for anything outside their folder."""
    opened = []

    def start(path, **options):
        watched = Watched(chromium, **options)
        opened.append((watched, path.parent.as_uri() + "/"))
        watched.open(path)
        return watched.page

    yield start
    for watched, folder in opened:
        watched.page.wait_for_timeout(50)
        outside = [url for url in watched.requests if not url.startswith((folder, "data:"))]
        watched.context.close()
        assert outside == []
        assert watched.complaints == []
